//! callboard: `request` and `publish` through the full pipeline, or with all that is optional off.

use ::callboard::prelude::*;
use ::callboard::{Bus, Delivery, Envelope, Runtime, RuntimeBuilder, Subscriber};

use crate::failure::Failure;
use crate::names;
use crate::peers::{Peer, Setup, Shape, WORKERS};
use crate::stage::Ground;
use crate::work::{Checked, Keyed, Order, Stocked, Tally, Total};

/// As the tables call it.
pub(crate) const SYSTEM: &str = "callboard";

/// The room for orders that wait.
const BACKLOG_MAX: usize = 1 << 20;

/// Answers an order.
#[derive(Clone)]
struct Clerk;

impl EventHandler for Clerk {
    type Input = Order;
    type Output = Total;

    async fn handle(&self, order: &Order, _: &EventContext) -> HandlerResult<Total> {
        Ok(order.total())
    }
}

/// Answers an order, and counts.
struct Cashier {
    served: u64,
}

impl actix::Actor for Cashier {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Delivery<Order, Total>> for Cashier {
    type Result = HandlerResult<Total>;

    fn handle(
        &mut self,
        order: Delivery<Order, Total>,
        _: &mut actix::Context<Self>,
    ) -> HandlerResult<Total> {
        self.served += 1;
        Ok(order.total())
    }
}

/// The first of a chain.
#[derive(Clone)]
struct Check;

impl EventHandler for Check {
    type Input = Order;
    type Output = Checked;

    async fn handle(&self, order: &Order, _: &EventContext) -> HandlerResult<Checked> {
        Ok(Checked { order: order.clone() })
    }
}

/// The second of a chain.
#[derive(Clone)]
struct Stock;

impl EventHandler for Stock {
    type Input = Checked;
    type Output = Stocked;

    async fn handle(&self, event: &Checked, _: &EventContext) -> HandlerResult<Stocked> {
        Ok(Stocked { order: event.order.clone() })
    }
}

/// The last of a chain.
#[derive(Clone)]
struct Price;

impl EventHandler for Price {
    type Input = Stocked;
    type Output = Total;

    async fn handle(&self, event: &Stocked, _: &EventContext) -> HandlerResult<Total> {
        Ok(event.order.total())
    }
}

/// One of the audience.
#[derive(Clone)]
struct Listener(Tally);

impl EventHandler for Listener {
    type Input = Order;
    type Output = ();

    async fn handle(&self, order: &Order, _: &EventContext) -> HandlerResult<()> {
        std::hint::black_box(order.total());
        self.0.count();
        Ok(())
    }
}

/// Waits for another event.
#[derive(Clone)]
struct Bystander;

impl EventHandler for Bystander {
    type Input = Stocked;
    type Output = ();

    async fn handle(&self, _: &Stocked, _: &EventContext) -> HandlerResult<()> {
        Ok(())
    }
}

/// Handles orders of one key in their order.
#[derive(Clone)]
struct Worker(Tally);

impl EventHandler for Worker {
    type Input = Keyed;
    type Output = ();

    async fn handle(&self, event: &Keyed, _: &EventContext) -> HandlerResult<()> {
        std::hint::black_box(event.order.total());
        self.0.count();
        Ok(())
    }

    fn policy(&self) -> Policy {
        Policy::default().concurrency(WORKERS).ordered_by_key()
    }
}

/// One of the audience, by a pattern.
#[derive(Clone)]
struct Watcher(Tally);

impl EventHandler for Watcher {
    type Input = Envelope;
    type Output = ();

    async fn handle(&self, envelope: &Envelope, _: &EventContext) -> HandlerResult<()> {
        std::hint::black_box(envelope.event::<Order>().map(Order::total));
        self.0.count();
        Ok(())
    }
}

fn domain(shape: Shape, tally: &Tally) -> Domain {
    let domain = Domain::new("bench");
    let listener = || Listener(tally.clone());
    match shape {
        Shape::Desk => domain.handler(Clerk),
        Shape::Actor => {
            let subscriber = Subscriber::new(|| Cashier { served: 0 });
            domain.actor(subscriber.on::<Order, Total>())
        }
        Shape::Chain => domain.handler(Check).handler(Stock).handler(Price),
        Shape::Audience(size) => (0..size).fold(domain, |domain, _| domain.handler(listener())),
        Shape::Keyed => domain.handler(Worker(tally.clone())),
        Shape::Patterns => {
            let domain = domain.handler_on("bench.*", Watcher(tally.clone()));
            (0..10).fold(domain, |domain, n| {
                domain.handler_on(&format!("other{n}.*"), Watcher(tally.clone()))
            })
        }
        Shape::Names(known) => domain.handler(listener()).actor(names::subscriber(known)),
        Shape::Crowd(size) => {
            (0..size).fold(domain.handler(listener()), |domain, _| domain.handler(Bystander))
        }
        Shape::Backlog => {
            domain.handler(listener()).policy(Policy::default().queue_max(BACKLOG_MAX))
        }
    }
}

/// Switches off what callboard can do without.
fn bare(runtime: RuntimeBuilder) -> RuntimeBuilder {
    runtime.event_log_max(0)
}

/// The bus.
#[derive(Clone)]
pub(crate) struct Callboard {
    bus: Bus,
    shape: Shape,
}

impl Peer for Callboard {
    const SYSTEM: &'static str = SYSTEM;
    const GROUND: Ground = Ground::Actix;

    async fn start(setup: Setup) -> Result<Self, Failure> {
        let Setup { shape, is_bare, tally } = setup;
        let runtime = Runtime::new().mount(domain(shape, &tally));
        let runtime = if is_bare { bare(runtime) } else { runtime };
        let runtime = runtime.start().await.map_err(|error| Failure::of(SYSTEM)(&error))?;
        Ok(Self { bus: runtime.bus(), shape })
    }

    async fn request(&self, order: Order) -> Result<Total, Failure> {
        self.bus.request(order).await.map_err(|error| Failure::of(SYSTEM)(&error))
    }

    async fn publish(&self, order: Order) -> Result<(), Failure> {
        let published = if self.shape == Shape::Keyed {
            self.bus.publish(Keyed { order }).await
        } else {
            self.bus.publish(order).await
        };
        published.map_err(|error| Failure::of(SYSTEM)(&error))
    }

    fn pause(&self, is_paused: bool) {
        match self.bus.handler("bench.Listener") {
            Some(listener) if is_paused => listener.pause(),
            Some(listener) => listener.resume(),
            None => {}
        }
    }
}
