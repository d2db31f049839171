//! Actors with `&mut self` that are handed an event on their own thread: they handle it at once, and
//! nothing else of it can be told from outside.

use std::sync::Arc;

use actix::prelude::*;
use callboard_actors::prelude::*;
use callboard_actors::{HandlerFuture, millis};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::play::{Answer, Ask, Log, Notes, Tick, on, start, until};

/// Counts what it is asked, and tells its address.
struct Counter {
    asked: i64,
    addr: Arc<Mutex<Option<Addr<Self>>>>,
    notes: Notes,
}

impl Actor for Counter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        *self.addr.lock() = Some(ctx.address());
    }
}

/// A message of the actor's own.
#[derive(Message)]
#[rtype(result = "()")]
struct Aside(i64);

impl Handler<Aside> for Counter {
    type Result = ();

    fn handle(&mut self, aside: Aside, _: &mut Context<Self>) {
        self.notes.add(aside.0);
    }
}

impl Handler<Delivery<Ask, Answer>> for Counter {
    type Result = HandlerResult<Answer>;

    fn handle(&mut self, ask: Delivery<Ask, Answer>, _: &mut Context<Self>) -> Self::Result {
        assert!(ask.n >= 0, "not that one");
        self.asked += 1;
        self.notes.add(ask.n);
        Ok(Answer { n: self.asked })
    }
}

impl Handler<Delivery<Tick>> for Counter {
    type Result = HandlerResult<()>;

    fn handle(&mut self, tick: Delivery<Tick>, ctx: &mut Context<Self>) -> HandlerResult<()> {
        self.notes.add(tick.n);
        // Its own future asks the actor itself, from within the actor's own task.
        let (_, context) = tick.into_parts();
        let notes = self.notes.clone();
        ctx.spawn(fut::wrap_future(async move {
            let answer = context.request(Ask { n: 7 }).await;
            notes.add(answer.map_or(-1, |answer| answer.n));
        }));
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Seen {
    addr: Arc<Mutex<Option<Addr<Counter>>>>,
    notes: Notes,
}

impl Seen {
    fn domain(&self) -> Domain {
        let Self { addr, notes } = self.clone();
        let factory = move || Counter { asked: 0, addr: Arc::clone(&addr), notes: notes.clone() };
        let subscriber = Subscriber::new(factory).on::<Ask, Answer>().on::<Tick, ()>();
        Domain::new("oracle").actor(subscriber)
    }

    fn addr(&self) -> Addr<Counter> {
        self.addr.lock().clone().unwrap()
    }
}

#[actix::test]
async fn an_actor_has_handled_the_event_before_its_publisher_goes_on() {
    let seen = Seen::default();
    let runtime = start(seen.domain()).await;
    assert_eq!(runtime.request(Ask { n: 1 }).await.unwrap().n, 1);
    runtime.publish(Ask { n: 2 }).await.unwrap();
    assert_eq!(seen.notes.all(), [1, 2]);
    runtime.try_publish(Ask { n: 3 }).unwrap();
    runtime.publish(Ask { n: 4 }).await.unwrap();
    assert_eq!(seen.notes.all(), [1, 2], "nobody overtakes what waits in the queue");
    assert_eq!(runtime.request(Ask { n: 5 }).await.unwrap().n, 5);
    assert_eq!(seen.notes.all(), [1, 2, 3, 4, 5]);
}

#[actix::test]
async fn what_is_in_the_mailbox_comes_first() {
    let seen = Seen::default();
    let runtime = start(seen.domain()).await;
    runtime.request(Ask { n: 1 }).await.unwrap();
    let aside = seen.addr().send(Aside(2));
    runtime.publish(Ask { n: 3 }).await.unwrap();
    assert_eq!(seen.notes.all(), [1, 2, 3]);
    aside.await.unwrap();
}

#[actix::test]
async fn an_actor_that_asks_itself_is_answered() {
    let seen = Seen::default();
    let runtime = start(seen.domain()).await;
    runtime.request(Ask { n: 1 }).await.unwrap();
    runtime.publish(Tick { n: 2 }).await.unwrap();
    until(|| seen.notes.all().len() == 4).await;
    assert_eq!(seen.notes.all(), [1, 2, 7, 2], "the second question");
}

#[actix::test]
async fn a_panic_ends_the_actor_and_not_whoever_called_it() {
    let seen = Seen::default();
    let runtime = start(seen.domain()).await;
    assert_eq!(runtime.request(Ask { n: 1 }).await.unwrap().n, 1);
    let before = seen.addr();
    let refusal = runtime.request(Ask { n: -1 }).await.unwrap_err();
    assert_eq!(refusal.code(), "panic");
    assert!(refusal.to_string().contains("not that one"), "{refusal}");
    assert_eq!(runtime.request(Ask { n: 2 }).await.unwrap().n, 1, "a new actor, a new count");
    assert!(before != seen.addr() && !before.connected());
    let metrics = &runtime.metrics().handlers["oracle.Counter"];
    assert_eq!((metrics.processed, metrics.errors, metrics.restarts), (3, 1, 1));
}

/// Answers after a while.
struct Slow {
    log: Log,
}

impl Actor for Slow {
    type Context = Context<Self>;
}

impl Handler<Delivery<Ask, Answer>> for Slow {
    type Result = HandlerFuture<Answer>;

    fn handle(&mut self, ask: Delivery<Ask, Answer>, _: &mut Context<Self>) -> Self::Result {
        let (ask, log) = (ask.into_parts().0, self.log.clone());
        log.add(format!("begin {}", ask.n));
        HandlerFuture::new(async move {
            sleep(millis(10)).await;
            log.add(format!("end {}", ask.n));
            Ok(Answer { n: ask.n })
        })
    }
}

#[actix::test]
async fn an_actor_that_waits_takes_the_next_event_afterwards() {
    let log = Log::default();
    let write = log.clone();
    let subscriber = Subscriber::new(move || Slow { log: write.clone() }).on::<Ask, Answer>();
    let runtime = start(Domain::new("oracle").actor(subscriber)).await;
    let asked = [1, 2, 3].map(|n| runtime.request(Ask { n }).into_future());
    let answers = futures_util::future::try_join_all(asked).await.unwrap();
    assert_eq!(answers.iter().map(|answer| answer.n).collect::<Vec<_>>(), [1, 2, 3]);
    let expected = [1, 2, 3].map(|n| [format!("begin {n}"), format!("end {n}")]).concat();
    assert_eq!(log.all(), expected);
}

#[actix::test]
async fn an_event_between_two_attempts_is_not_overtaken() {
    let notes = Notes::default();
    let write = notes.clone();
    let handler = on(async move |event: &Tick, ctx: &EventContext| {
        write.add(event.n * 10 + i64::from(ctx.attempt()));
        if ctx.attempt() == 1 { Err(HandlerError::retry("later")) } else { Ok(()) }
    });
    let policy = Policy::default().attempts_max(2).retry_delay(millis(30), millis(30));
    let handler = handler.with(policy.concurrency(1));
    let runtime = start(Domain::new("clock").handler(handler)).await;
    for n in 1..=3 {
        runtime.publish(Tick { n }).await.unwrap();
        sleep(millis(5)).await;
    }
    until(|| notes.all().len() == 6).await;
    assert_eq!(notes.all(), [11, 12, 21, 22, 31, 32]);
}
