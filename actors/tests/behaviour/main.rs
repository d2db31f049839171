//! What the runtime promises, one file per promise, in virtual time.

mod play;

mod blocking;
mod breaker;
mod bulkhead;
mod context;
mod cron;
mod dead_letters;
mod dedupe;
mod drops;
mod fallback;
mod graph;
mod hops;
mod layers;
mod missed;
mod observe;
mod ordered;
mod outputs;
mod patterns;
mod pause;
mod queue;
mod rate_limit;
mod request;
mod retry;
mod routing;
mod schedule;
mod schedules;
mod scopes;
mod shutdown;
mod subscribe;
mod supervision;
mod testing_faults;
mod testing_kit;
mod testing_shuffle;
mod ttl;
