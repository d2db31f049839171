//! The callboard runtime: a typed event bus that connects supervised actix actors.
//!
//! Business logic is written as isolated handlers, grouped in domains. Events enter through the
//! [`Bus`], wait in one bounded queue per handler, are delivered to the handler's actor, and what it
//! puts out enters the bus again. This crate knows no HTTP, no SQL and no broker.
//!
//! The files in the order in which they are best read; each uses only those above it.

mod event;
pub use event::{BadTraceId, EVENT_NAME_MAX, Event, EventId, Replies, TraceId};
mod span;
#[doc(hidden)]
pub use span::SPAN_TARGET;
pub use span::{BadTraceParent, SpanId, TraceParent};
mod pattern;
mod wiring;
mod clock;
pub use clock::{millis, secs};
mod error;
pub use error::{ErrorKind, HandlerError, HandlerResult, PublishError, Rejection, RequestError};
mod failed;
pub use failed::Failed;
mod envelope;
pub use envelope::{Envelope, Identity, Metadata, Shared};
mod phase;
mod queue;
mod dead_letter;
pub use dead_letter::{
    BadDeadLetterId, DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetterStore,
    DeadLetterStoreError, DeadReason, StoreFuture,
};
mod chain;
mod layer;
pub use layer::breaker::{Breaker, CircuitState, Trip, WhenOpen};
pub use layer::bulkhead::Bulkhead;
pub use layer::dedupe::{Dedupe, DedupeBy};
#[doc(hidden)]
// for the edges of `callboard`, which count requests as handlers count deliveries
pub use layer::limiter::{Level, Limiter, Take};
pub use layer::limiter::{LimitBy, RateLimit, WhenEmpty};
pub use layer::retry::{Failure, Jitter};
pub use layer::{Inbound, Layer, LayerFuture, Next};
mod policy;
pub use policy::{Instances, Overflow, Policy, Restart};
mod throttle;
mod metrics;
pub use metrics::{Durations, HandlerMetrics, HandlerStatus, LastError, MetricsSnapshot};
mod event_log;
pub use event_log::{EventQuery, EventRecord};
mod observed;
mod bell;
mod seat;
pub use seat::Stuck;
mod table;
mod live;
mod lane;
mod router;
mod dead_letters;
pub use dead_letters::{DeadLetterError, DeadLetters, ReplayReport};
mod handle;
pub use handle::{BadRateLimit, HandlerHandle};
mod publish;
pub use publish::{Publish, Publishing};
mod request;
pub use request::{Reply, Request, Requesting};
mod context;
pub use context::EventContext;
mod output;
pub use output::{Output, Outputs};
mod handler;
pub use handler::{Delivery, EventHandler, HandlerFuture, Input};
mod watchdog;
mod supervisor;
pub use supervisor::{Escalation, Strategy};
mod instance;
mod upkeep;
#[doc(hidden)]
pub use upkeep::{Upkeep, Visit};
mod crew;
mod work;
mod host;
mod subscriber;
pub use subscriber::Subscriber;
mod domain;
pub use domain::Domain;
mod start_error;
pub use start_error::{StartError, StartFault};
mod graph;
pub use graph::{Graph, Unheard};
mod registry;
mod scheduler;
pub use scheduler::{Missed, Ran, Schedule, ScheduleError, ScheduleInfo, Scheduling};
mod bus;
pub use bus::{Bus, Health, Subscription};
mod runtime;
pub use runtime::{Left, Runtime, RuntimeBuilder, StopReport};
#[cfg(feature = "testing")]
pub mod testing;

/// What a file with handlers needs.
pub mod prelude {
    pub use crate::{
        Delivery, Domain, Event, EventContext, EventHandler, HandlerError, HandlerResult, Policy,
        Replies, Subscriber,
    };
}
