//! What the runtime promises, one file per promise, in virtual time.

mod play;

mod blocking;
mod context;
mod dead_letters;
mod cron;
mod graph;
mod missed;
mod observe;
mod outputs;
mod queue;
mod request;
mod schedule;
mod schedules;
mod shutdown;
mod subscribe;
mod supervision;
