//! What is handled in place, on the publisher's own task: nothing of it can be told from outside.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use actix::prelude::Arbiter;
use callboard_actors::prelude::*;
use callboard_actors::{DeadLetterQuery, Envelope, Instances, Runtime, millis};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use crate::play::{Answer, Ask, Log, Notes, Tick, on, start, until};

#[actix::test]
async fn an_event_is_handled_before_its_publisher_goes_on() {
    let notes = Notes::default();
    let write = notes.clone();
    let handler = on(async move |event: &Tick, _: &EventContext| {
        write.add(event.n);
        Ok(())
    });
    let runtime = start(Domain::new("clock").handler(handler)).await;
    // Its actor has to start first; until then the queue takes what comes.
    runtime.publish(Tick { n: 1 }).await.unwrap();
    until(|| notes.all() == [1]).await;
    runtime.publish(Tick { n: 2 }).await.unwrap();
    assert_eq!(notes.all(), [1, 2]);
    runtime.try_publish(Tick { n: 3 }).unwrap();
    assert_eq!(notes.all(), [1, 2], "who may hold a lock is not held up by a handler");
    runtime.publish(Tick { n: 4 }).await.unwrap();
    assert_eq!(notes.all(), [1, 2], "nobody overtakes what waits in the queue");
    until(|| notes.all() == [1, 2, 3, 4]).await;
}

#[actix::test]
async fn a_pause_holds_and_the_metrics_count() {
    let handler = on(async |_: &Tick, _: &EventContext| Ok(()));
    let runtime = start(Domain::new("clock").handler(handler)).await;
    let handle = runtime.handler("clock.On").unwrap();
    runtime.publish(Tick { n: 1 }).await.unwrap();
    until(|| handle.metrics().processed == 1).await;
    handle.pause();
    runtime.publish(Tick { n: 2 }).await.unwrap();
    sleep(millis(20)).await;
    let metrics = handle.metrics();
    assert_eq!((metrics.processed, metrics.queue_depth, metrics.in_flight), (1, 1, 0));
    handle.resume();
    until(|| handle.metrics().processed == 2).await;
    assert_eq!(runtime.events(&callboard_actors::EventQuery::default()).len(), 2);
}

#[actix::test]
async fn who_waits_is_in_flight_and_goes_on_when_its_requester_leaves() {
    let (gate, done) = (Arc::new(Semaphore::new(0)), Notes::default());
    let (enter, write) = (Arc::clone(&gate), done.clone());
    let handler = on(async move |event: &Ask, _: &EventContext| {
        enter.acquire().await.unwrap().forget();
        write.add(event.n);
        Ok(Answer { n: event.n })
    });
    let runtime = start(Domain::new("oracle").handler(handler)).await;
    let handle = runtime.handler("oracle.On").unwrap();
    gate.add_permits(1);
    runtime.request(Ask { n: 1 }).await.unwrap();
    let asking = tokio::time::timeout(millis(30), runtime.request(Ask { n: 2 }));
    assert!(asking.await.is_err(), "it waits at the gate");
    assert_eq!(handle.metrics().in_flight, 1);
    gate.add_permits(1);
    until(|| done.all() == [1, 2]).await;
    until(|| handle.metrics().in_flight == 0).await;
}

#[actix::test]
async fn a_panic_in_place_is_an_error_and_the_actor_is_rebuilt() {
    let handler = on(async |event: &Ask, _: &EventContext| {
        assert!(event.n > 0, "not that one");
        Ok(Answer { n: event.n })
    });
    let runtime = start(Domain::new("oracle").handler(handler)).await;
    runtime.request(Ask { n: 1 }).await.unwrap();
    assert_eq!(runtime.request(Ask { n: 0 }).await.unwrap_err().code(), "panic");
    assert_eq!(runtime.request(Ask { n: 2 }).await.unwrap().n, 2);
    let metrics = &runtime.metrics().handlers["oracle.On"];
    assert_eq!((metrics.processed, metrics.errors, metrics.restarts), (3, 1, 1));
    let letters = runtime.dead_letters().list(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!(letters.len(), 1);
}

#[actix::test]
async fn what_a_handler_publishes_is_seen_after_the_event_itself() {
    // Both hear the tick. If the first one ran before the second one has the tick, the second one
    // would hear of the answer first.
    let log = Log::default();
    let first = on(async |event: &Tick, ctx: &EventContext| {
        ctx.publish_now(Answer { n: event.n }).await?;
        Ok(())
    });
    let write = log.clone();
    let second = on(async move |envelope: &Envelope, _: &EventContext| {
        write.add(envelope.name());
        Ok(())
    });
    let domain = Domain::new("clock").handler(first).handler_on("**", second);
    let runtime = start(domain).await;
    for n in 0..3_usize {
        runtime.publish(Tick { n: 1 }).await.unwrap();
        until(|| log.all().len() == 2 * (n + 1)).await;
    }
    assert_eq!(log.all(), [Tick::NAME, Answer::NAME].repeat(3));
}

#[actix::test]
async fn handlers_within_handlers_do_not_exhaust_the_stack() {
    // Each call asks the same handler for one less; deeper ones go through the queue.
    let handler = on(async |event: &Ask, ctx: &EventContext| {
        if event.n == 0 {
            return Ok(Answer { n: 0 });
        }
        let below = ctx.request(Ask { n: event.n - 1 }).await?;
        Ok(Answer { n: below.n + 1 })
    });
    let domain = Domain::new("oracle").handler(handler);
    let runtime = Runtime::new().hops_max(100).mount(domain).start().await.unwrap();
    assert_eq!(runtime.request(Ask { n: 60 }).await.unwrap().n, 60);
}

#[actix::test]
async fn a_loop_of_requests_leaves_others_their_turn() {
    let handler = on(async |event: &Ask, _: &EventContext| Ok(Answer { n: event.n }));
    let runtime = start(Domain::new("oracle").handler(handler)).await;
    runtime.request(Ask { n: 0 }).await.unwrap();
    let turns = Rc::new(Cell::new(0));
    let count = Rc::clone(&turns);
    let other = actix::spawn(async move {
        loop {
            count.set(count.get() + 1);
            tokio::task::yield_now().await;
        }
    });
    for n in 0..10_000 {
        runtime.request(Ask { n }).await.unwrap();
    }
    assert!(turns.get() > 10, "the other task had {} turns", turns.get());
    other.abort();
}

#[actix::test]
async fn a_stop_waits_for_what_is_handled_in_place_elsewhere() {
    let (entered, has_entered) = std::sync::mpsc::channel();
    let entered = Mutex::new(entered);
    let handler = on({
        let entered = Arc::new(entered);
        async move |event: &Ask, _: &EventContext| {
            entered.lock().send(thread::current().id()).unwrap();
            // Keeps its thread.
            let (_open, never) = std::sync::mpsc::channel::<()>();
            never.recv_timeout(Duration::from_millis(200)).unwrap_err();
            Ok(Answer { n: event.n })
        }
    });
    let runtime = start(Domain::new("oracle").handler(handler)).await;
    let worker = Worker::new(&runtime);
    worker.warm_up(&runtime).await;
    while has_entered.try_recv().is_ok() {}
    let reply = worker.ask(&runtime, 7);
    let elsewhere = has_entered.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_ne!(elsewhere, thread::current().id());
    assert!(runtime.stop().await.is_clean());
    assert_eq!(reply.await.unwrap().unwrap().n, 7);
}

/// A thread that has joined a runtime.
struct Worker(Arbiter);

impl Worker {
    fn new(runtime: &Runtime) -> Self {
        let arbiter = Arbiter::new();
        let runtime = runtime.clone();
        arbiter.spawn_fn(move || runtime.join_thread());
        Self(arbiter)
    }

    fn ask(
        &self,
        runtime: &Runtime,
        n: i64,
    ) -> oneshot::Receiver<Result<Answer, callboard_actors::RequestError>> {
        let (reply_to, reply) = oneshot::channel();
        let bus = runtime.bus();
        self.0.spawn(async move {
            let _ = reply_to.send(bus.request(Ask { n }).await);
        });
        reply
    }

    /// Asks until the branch on the thread is open.
    async fn warm_up(&self, runtime: &Runtime) {
        for n in 0..10 {
            self.ask(runtime, n).await.unwrap().unwrap();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Answers with the number of the question; says on which threads it did.
fn whereabouts(policy: Policy) -> (Domain, Arc<Mutex<Vec<ThreadId>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = Arc::clone(&seen);
    let handler = on(async move |event: &Ask, _: &EventContext| {
        see.lock().push(thread::current().id());
        assert!(event.n != -1, "not that one");
        Ok(Answer { n: event.n })
    });
    (Domain::new("oracle").handler(handler.with(policy)), seen)
}

#[actix::test]
async fn a_thread_that_joined_answers_itself() {
    let (domain, seen) = whereabouts(Policy::default());
    let runtime = start(domain).await;
    let (worker, here) = (Worker::new(&runtime), thread::current().id());
    worker.warm_up(&runtime).await;
    seen.lock().clear();
    for n in 0..5 {
        assert_eq!(worker.ask(&runtime, n).await.unwrap().unwrap().n, n);
    }
    assert!(seen.lock().iter().all(|thread| *thread != here), "answered at home");
    assert_eq!(seen.lock().len(), 5);
    seen.lock().clear();
    runtime.request(Ask { n: 1 }).await.unwrap();
    assert_eq!(*seen.lock(), [here]);
    // A panic on one thread rebuilds the actor of that thread.
    let error = worker.ask(&runtime, -1).await.unwrap().unwrap_err();
    assert_eq!(error.code(), "panic");
    worker.warm_up(&runtime).await;
    let metrics = &runtime.metrics().handlers["oracle.On"];
    assert_eq!((metrics.restarts, metrics.errors), (1, 1));
    assert!(runtime.stop().await.is_clean());
}

#[actix::test]
async fn who_says_how_many_at_once_stays_at_home() {
    let one = Policy::default().instances(Instances::One);
    for policy in [Policy::default().concurrency(8), one, Policy::default().ordered_by_key()] {
        let (domain, seen) = whereabouts(policy);
        let runtime = start(domain).await;
        let (worker, here) = (Worker::new(&runtime), thread::current().id());
        worker.warm_up(&runtime).await;
        assert!(seen.lock().iter().all(|thread| *thread == here));
        runtime.stop().await;
    }
}

#[actix::test]
async fn a_handler_that_goes_down_goes_down_everywhere() {
    let policy = Policy::default().restart(callboard_actors::Restart::Never);
    let (domain, _) = whereabouts(policy);
    let runtime = start(domain).await;
    let worker = Worker::new(&runtime);
    worker.warm_up(&runtime).await;
    worker.ask(&runtime, -1).await.unwrap().unwrap_err();
    until(|| runtime.health().down == ["oracle.On"]).await;
    assert_eq!(worker.ask(&runtime, 1).await.unwrap().unwrap_err().code(), "unavailable");
    assert_eq!(runtime.request(Ask { n: 1 }).await.unwrap_err().code(), "unavailable");
    runtime.stop().await;
}

#[actix::test]
async fn a_thread_that_ends_loses_nothing_that_was_accepted() {
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
    let (enter, count) = (Arc::clone(&gate), Arc::clone(&begun));
    let handler = on(async move |event: &Ask, _: &EventContext| {
        if event.n >= 100 {
            count.fetch_add(1, Ordering::Relaxed);
            enter.acquire().await.unwrap().forget();
        }
        Ok(Answer { n: event.n })
    });
    let runtime = start(Domain::new("oracle").handler(handler)).await;
    let worker = Worker::new(&runtime);
    worker.warm_up(&runtime).await;
    let reply = worker.ask(&runtime, 100);
    until(|| begun.load(Ordering::Relaxed) == 1).await;
    drop(worker);
    assert!(reply.await.is_err(), "its requester was on the thread as well");
    let count = || runtime.metrics().dead_letters;
    until(|| count() == 1).await;
    assert!(runtime.stop().await.is_clean());
}

#[actix::test]
async fn own_threads_share_the_work() {
    let (domain, seen) = whereabouts(Policy::default().instances(Instances::Threads(2)));
    let runtime = start(domain).await;
    // Both have to start first.
    for _ in 0..100 {
        let asking = (0..50).map(|n| runtime.request(Ask { n }).into_future());
        for reply in futures_util::future::join_all(asking).await {
            reply.unwrap();
        }
        let threads: HashSet<_> = seen.lock().iter().copied().collect();
        if threads.len() == 2 {
            break;
        }
    }
    let threads: HashSet<_> = seen.lock().iter().copied().collect();
    assert_eq!(threads.len(), 2);
    assert!(!threads.contains(&thread::current().id()));
    runtime.stop().await;
}

#[actix::test]
async fn a_handler_that_keeps_its_publisher_s_thread_is_reported_as_stuck() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let handler = on(async move |event: &Ask, _: &EventContext| {
        if event.n == 100 {
            let _ = released.lock().recv_timeout(Duration::from_secs(10));
        }
        Ok(Answer { n: event.n })
    });
    let policy = Policy::default().stuck_after(millis(40));
    let runtime = start(Domain::new("oracle").handler(handler.with(policy))).await;
    let worker = Worker::new(&runtime);
    worker.warm_up(&runtime).await;
    let reply = worker.ask(&runtime, 100);
    until(|| runtime.health().stuck.len() == 1).await;
    let stuck = runtime.health().stuck.remove(0);
    assert_eq!((stuck.handler.as_str(), stuck.event, stuck.attempt), ("oracle.On", Ask::NAME, 1));
    assert!(stuck.running_for >= millis(40));
    assert_eq!(runtime.handler("oracle.On").unwrap().metrics().in_flight, 1);
    release.send(()).unwrap();
    reply.await.unwrap().unwrap();
    assert!(runtime.health().stuck.is_empty());
}
