//! Faults that a test injects into handlers while they run: rules enter, and two layers around each
//! handler act by them.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::chain::Parcel;
use crate::envelope::Envelope;
use crate::error::HandlerError;
use crate::event::EventId;
use crate::layer::{Inbound, Layer, LayerFuture, Next};
use crate::pattern::Pattern;
use crate::router::Router;

/// What goes wrong with the next deliveries or attempts of a handler.
///
/// | fault | works on | what happens |
/// |---|---|---|
/// | `fail`, `fail_with` | attempts | it ends with the error; the handler is not called |
/// | `panic` | attempts | as if the handler panicked: an error of the kind `Panic`, and its actor is rebuilt |
/// | `delay` | attempts | it begins later, within the attempt's timeout |
/// | `random` | attempts | some of them fail, drawn from the seed of the bus |
/// | `duplicate` | deliveries | when one has ended, the same event is put into the queue once more |
/// | `drop` | deliveries | it never reaches the handler, and counts as handled, with no outputs |
///
/// What works on attempts stands within retry, breaker, bulkhead and timeout, and uses up an
/// attempt; what works on deliveries stands outside dedupe and rate limit. Faults act in the order in
/// which they were injected, one on each attempt and one on each delivery.
///
/// [`TestBus::inject`](crate::testing::TestBus::inject) has an example.
#[derive(Clone, Debug)]
#[must_use = "nothing goes wrong until it is injected"]
pub struct Fault {
    harm: Harm,
    /// `None` for as long as it is not cleared.
    times: Option<u32>,
}

#[derive(Clone, Debug)]
enum Harm {
    Fail(HandlerError),
    Panic,
    Delay(Duration),
    /// The share of the attempts that fail.
    Random(f64),
    Duplicate,
    Drop,
}

impl Fault {
    /// The next attempts fail with an error to be retried, of the code `injected`.
    pub fn fail(times: u32) -> Self {
        Self::fail_with(times, injected())
    }

    /// The next attempts fail with this error.
    pub fn fail_with(times: u32, error: HandlerError) -> Self {
        Self { harm: Harm::Fail(error), times: Some(times) }
    }

    /// The next attempts panic.
    pub fn panic(times: u32) -> Self {
        Self { harm: Harm::Panic, times: Some(times) }
    }

    /// The next attempts begin later by so much virtual time, which counts for their timeout.
    pub fn delay(by: Duration, times: u32) -> Self {
        Self { harm: Harm::Delay(by), times: Some(times) }
    }

    /// The next deliveries are made twice. The second one has the same event id and trace, comes
    /// after what waits in the queue, and nobody waits for its reply. It is not duplicated again.
    pub fn duplicate(times: u32) -> Self {
        Self { harm: Harm::Duplicate, times: Some(times) }
    }

    /// The next deliveries never reach the handler.
    pub fn drop(times: u32) -> Self {
        Self { harm: Harm::Drop, times: Some(times) }
    }

    /// A share of all attempts, from 0 to 1, fails as with [`fail`](Self::fail), until the faults
    /// are cleared.
    ///
    /// # Panics
    /// When the share is not within 0 to 1.
    pub fn random(share: f64) -> Self {
        assert!((0.0..=1.0).contains(&share), "a share is from 0 to 1, not {share}");
        Self { harm: Harm::Random(share), times: None }
    }
}

fn injected() -> HandlerError {
    HandlerError::retry("a test injected this failure").code("injected")
}

impl Harm {
    fn is_of_deliveries(&self) -> bool {
        matches!(self, Self::Duplicate | Self::Drop)
    }
}

/// The faults of one bus.
pub(crate) struct Faults {
    state: Mutex<State>,
    /// Set when the runtime has started; weak, because the runtime holds the layers.
    router: OnceLock<Weak<Router>>,
}

struct State {
    rules: Vec<(Pattern, Fault)>,
    random: fastrand::Rng,
    /// Second deliveries that are in a queue.
    copies: Vec<(Arc<str>, EventId)>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let random = fastrand::Rng::with_seed(seed);
        let state = State { rules: Vec::new(), random, copies: Vec::new() };
        Arc::new(Self { state: Mutex::new(state), router: OnceLock::new() })
    }

    pub(crate) fn connect(&self, router: &Arc<Router>) {
        self.router.get_or_init(|| Arc::downgrade(router));
    }

    pub(crate) fn add(&self, handlers: &Pattern, fault: Fault) {
        self.state.lock().rules.push((handlers.clone(), fault));
    }

    pub(crate) fn clear(&self) {
        self.state.lock().rules.clear();
    }

    /// The layer around each delivery.
    pub(crate) fn around_deliveries(self: &Arc<Self>) -> Arc<dyn Layer> {
        Arc::new(AroundDeliveries(Arc::clone(self)))
    }

    /// The layer around each attempt.
    pub(crate) fn around_attempts(self: &Arc<Self>) -> Arc<dyn Layer> {
        Arc::new(AroundAttempts(Arc::clone(self)))
    }

    /// Puts the event into the handler's queue once more.
    fn redeliver(&self, inbound: &Inbound) {
        let Some(router) = self.router.get().and_then(Weak::upgrade) else { return };
        let table = router.table();
        let mut seats = table.seats().iter();
        let Some(seat) = seats.find(|seat| seat.handler == inbound.handler).map(Arc::clone) else {
            return;
        };
        self.state.lock().copies.push((Arc::clone(&inbound.handler), inbound.envelope.id()));
        let parcel = Parcel::new(Envelope::clone(&inbound.envelope), None);
        router.live.begin();
        // Its own task, because the queue may be full and its host waits for this delivery.
        actix_rt::spawn(async move {
            if seat.queue.push(parcel).await.is_err() {
                router.live.end();
            }
        });
    }
}

impl State {
    /// What is to happen to this delivery, or this attempt.
    fn draw(&mut self, handler: &str, of_deliveries: bool) -> Option<Harm> {
        let Self { rules, random, .. } = self;
        let fits = |(handlers, fault): &&mut (Pattern, Fault)| {
            fault.harm.is_of_deliveries() == of_deliveries && handlers.matches(handler)
        };
        rules.iter_mut().filter(fits).find_map(|(_, fault)| fault.draw(random))
    }

    /// Whether this delivery is a second one; told once.
    fn takes_copy(&mut self, inbound: &Inbound) -> bool {
        let is_it = |(handler, id): &_| *handler == inbound.handler && *id == inbound.envelope.id();
        let place = self.copies.iter().position(is_it);
        place.map(|place| self.copies.swap_remove(place)).is_some()
    }
}

impl Fault {
    fn draw(&mut self, random: &mut fastrand::Rng) -> Option<Harm> {
        if let Harm::Random(share) = self.harm {
            return (random.f64() < share).then(|| Harm::Fail(injected()));
        }
        let times = self.times.as_mut().filter(|times| **times > 0)?;
        *times -= 1;
        Some(self.harm.clone())
    }
}

struct AroundDeliveries(Arc<Faults>);

impl Layer for AroundDeliveries {
    fn call<'a>(&'a self, inbound: &'a Inbound, next: Next<'a>) -> LayerFuture<'a> {
        Box::pin(async move {
            let drawn = {
                let mut state = self.0.state.lock();
                let is_copy = state.takes_copy(inbound);
                if is_copy { None } else { state.draw(&inbound.handler, true) }
            };
            match drawn {
                Some(Harm::Drop) => Ok(()),
                Some(Harm::Duplicate) => {
                    let outcome = next.run().await;
                    self.0.redeliver(inbound);
                    outcome
                }
                _ => next.run().await,
            }
        })
    }

    fn name(&self) -> &'static str {
        "faults"
    }
}

struct AroundAttempts(Arc<Faults>);

impl Layer for AroundAttempts {
    fn call<'a>(&'a self, inbound: &'a Inbound, next: Next<'a>) -> LayerFuture<'a> {
        Box::pin(async move {
            let drawn = self.0.state.lock().draw(&inbound.handler, false);
            match drawn {
                Some(Harm::Fail(error)) => return Err(error),
                Some(Harm::Panic) => {
                    let panic = "a test injected this panic";
                    (next.condemn)(panic);
                    panic!("{panic}");
                }
                Some(Harm::Delay(by)) => sleep(by).await,
                _ => {}
            }
            next.run().await
        })
    }

    fn name(&self) -> &'static str {
        "faults"
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}
