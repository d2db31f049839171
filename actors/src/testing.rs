//! A bus for tests: real queues and real actors in virtual time, and a record of all that was
//! published.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::bus::Bus;
use crate::clock::Wall;
use crate::dead_letter::DeadLetter;
use crate::domain::Domain;
use crate::envelope::Envelope;
use crate::error::PublishError;
use crate::event::Event;
use crate::runtime::{Runtime, RuntimeBuilder};
use crate::start_error::StartError;

mod dead_letter_store;
pub use dead_letter_store::dead_letter_store_conformance;

/// A running bus in virtual time: whenever nothing can go on, the clock jumps to the next timer.
///
/// It dereferences to its [`Bus`].
#[derive(Clone, Debug)]
pub struct TestBus {
    runtime: Runtime,
    record: Arc<Mutex<Vec<Envelope>>>,
}

/// What followed from one published event, once everything was quiet.
#[derive(Clone, Debug)]
pub struct Tracked {
    envelopes: Vec<Envelope>,
    dead_letters: Vec<DeadLetter>,
}

/// Events of one type, in the order in which they were published.
#[derive(Clone, Debug)]
pub struct Found<E>(Vec<Arc<E>>);

/// How many published events one [`TestBus`] records.
const RECORD_MAX: usize = 100_000;

impl TestBus {
    /// Starts the domains, seeded, in virtual time.
    ///
    /// # Errors
    /// All faults of the graph.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn start(domains: impl IntoIterator<Item = Domain>) -> Result<Self, StartError> {
        let builder = domains.into_iter().fold(Runtime::new(), RuntimeBuilder::mount);
        Self::start_with(builder).await
    }

    /// Starts the domains, seeded, in virtual time; the wall clock begins at `time`.
    ///
    /// # Errors
    /// All faults of the graph.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn start_at(
        time: SystemTime,
        domains: impl IntoIterator<Item = Domain>,
    ) -> Result<Self, StartError> {
        let builder = domains.into_iter().fold(Runtime::new(), RuntimeBuilder::mount);
        Self::begin(time, builder).await
    }

    /// Starts a runtime with settings of its own, seeded, in virtual time.
    ///
    /// # Errors
    /// All faults of the graph.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn start_with(builder: RuntimeBuilder) -> Result<Self, StartError> {
        Self::begin(SystemTime::now(), builder).await
    }

    async fn begin(time: SystemTime, builder: RuntimeBuilder) -> Result<Self, StartError> {
        pause_time();
        let record = Arc::new(Mutex::new(Vec::new()));
        let write = Arc::clone(&record);
        let tap = move |envelope: &Envelope| {
            let mut record = write.lock();
            if record.len() < RECORD_MAX {
                record.push(envelope.clone());
            }
        };
        let builder = builder.seed(0).wall(Wall::virtual_from(time)).tap(Some(Box::new(tap)));
        Ok(Self { runtime: builder.start().await?, record })
    }

    /// Sets the wall clock, as an administrator or a time server would. Timers take no notice; what
    /// follows the wall clock, such as a cron schedule, does.
    pub fn set_clock(&self, time: SystemTime) {
        self.runtime.set_clock(time);
    }

    /// The runtime, for its graph and for stopping it.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Publishes, and returns when nothing is queued or in work any more, timers of retries
    /// included.
    ///
    /// # Errors
    /// As for publishing.
    pub async fn publish_tracked<E: Event>(&self, event: E) -> Result<Tracked, PublishError> {
        let published = self.record.lock().len();
        let dead = self.letters().await.len();
        self.publish(event).await?;
        self.quiet().await;
        let dead_letters = self.letters().await.split_off(dead);
        let envelopes = self.record.lock()[published..].to_vec();
        Ok(Tracked { envelopes, dead_letters })
    }

    /// The dead letters that there are now, the oldest first, at most 1 000.
    pub async fn letters(&self) -> Vec<DeadLetter> {
        // The store of a test is in memory and does not fail.
        self.runtime.dead_letters().all().await.unwrap_or_default()
    }

    /// Waits until nothing is queued or in work.
    pub async fn quiet(&self) {
        self.runtime.quiet().await;
    }

    /// All events of one type that were published so far.
    pub fn published<E: Event>(&self) -> Found<E> {
        Found(self.record.lock().iter().filter_map(Envelope::event).collect())
    }
}

impl Deref for TestBus {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.runtime
    }
}

impl Tracked {
    /// The events of one type that were published.
    pub fn published<E: Event>(&self) -> Found<E> {
        Found(self.envelopes.iter().filter_map(Envelope::event).collect())
    }

    /// The names of all events that were published, in order.
    pub fn names(&self) -> Vec<&'static str> {
        self.envelopes.iter().map(Envelope::name).collect()
    }

    /// What nobody could handle.
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }
}

impl<E: Event> Found<E> {
    /// The only one.
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub fn one(&self) -> &E {
        match &self.0[..] {
            [one] => one,
            all => panic!("one `{}` was expected, {} were published", E::NAME, all.len()),
        }
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<E>] {
        &self.0
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Pauses tokio's clock, unless it stands still already: then tokio would panic.
fn pause_time() {
    let (virtually, really) = (tokio::time::Instant::now(), std::time::Instant::now());
    while really.elapsed() < Duration::from_micros(50) {
        std::hint::spin_loop();
    }
    if virtually.elapsed() > Duration::ZERO {
        tokio::time::pause();
    }
}
