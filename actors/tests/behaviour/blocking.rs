//! Handlers that compute or block have threads of their own and lose nothing by it.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use callboard_actors::prelude::*;
use callboard_actors::{EventQuery, RequestError, Runtime, StartFault, millis, secs};
use parking_lot::Mutex;

use crate::play::{Answer, Ask, Tick, on};

/// Real time: a thread that blocks knows no virtual clock.
async fn start(domain: Domain) -> Runtime {
    Runtime::new().mount(domain).start().await.unwrap()
}

/// parity: W13
#[actix::test]
async fn context_injection_names_and_results_are_kept() {
    let home = std::thread::current().id();
    let dependency = Arc::new(Mutex::new(Vec::new()));
    let injected = Arc::clone(&dependency);
    let handler = on(async move |event: &Ask, ctx: &EventContext| {
        injected.lock().push((std::thread::current().id(), ctx.trace_id()));
        Ok(Answer { n: event.n + 1 })
    });
    let unit = on(async |_: &Tick, _: &EventContext| Ok(()));
    let policy = Policy::default().blocking(2);
    let domain =
        Domain::new("oracle").handler(handler.with(policy.clone())).handler(unit.with(policy));
    let runtime = start(domain).await;
    let reply = runtime.request(Ask { n: 1 }).envelope().await.unwrap();
    assert_eq!(reply.event::<Answer>().unwrap().n, 2);
    let (thread, trace_id) = dependency.lock()[0];
    assert_ne!(thread, home);
    assert_eq!(trace_id, reply.trace_id());
    runtime.publish(Tick { n: 1 }).await.unwrap();
    assert!(runtime.stop().await.is_clean());
    let events = runtime.events(&EventQuery::default().event_type("clock.tick"));
    assert!(events[0].ok && events[0].handler == "oracle.On#2", "{events:?}");
}

/// parity: W13
#[actix::test]
async fn the_timeout_holds_while_the_thread_computes() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let handler = on(async move |event: &Ask, _: &EventContext| {
        if event.n < 0 {
            // Blocks the thread, as a computation would.
            let _ = gate.lock().recv_timeout(Duration::from_secs(20));
        }
        Ok(Answer { n: event.n })
    });
    let policy = Policy::default().blocking(1).timeout(millis(300));
    let runtime = start(Domain::new("oracle").handler(handler.with(policy))).await;
    let error = runtime.request(Ask { n: -1 }).await.unwrap_err();
    assert_eq!(error.code(), "timeout");
    // The thread is not free yet, so the next one waits for its turn; its own time begins with that.
    let next = actix::spawn(runtime.request(Ask { n: 3 }).into_future());
    tokio::time::sleep(millis(600)).await;
    release.send(()).unwrap();
    assert_eq!(next.await.unwrap().unwrap().n, 3);
    runtime.stop().await;
}

#[actix::test]
async fn other_handlers_go_on_meanwhile_and_threads_work_in_parallel() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let (began, begins) = tokio::sync::mpsc::unbounded_channel();
    let computing = on(async move |event: &Tick, _: &EventContext| {
        began.send(event.n).unwrap();
        let _ = gate.lock().recv_timeout(Duration::from_secs(20));
        Ok(())
    });
    let quick = on(async |event: &Ask, _: &EventContext| Ok(Answer { n: event.n }));
    let domain =
        Domain::new("oracle").handler(computing.with(Policy::default().blocking(2))).handler(quick);
    let runtime = start(domain).await;
    let mut begins = begins;
    for n in 1..=2 {
        runtime.publish(Tick { n }).await.unwrap();
    }
    let mut both = [begins.recv().await.unwrap(), begins.recv().await.unwrap()];
    both.sort_unstable();
    assert_eq!(both, [1, 2], "both are in work at once");
    assert_eq!(runtime.request(Ask { n: 9 }).await.unwrap().n, 9);
    release.send(()).unwrap();
    release.send(()).unwrap();
    assert!(runtime.stop().await.is_clean());
}

#[actix::test]
async fn a_panic_on_a_thread_is_an_error_and_the_thread_goes_on() {
    let handler = on(async |event: &Ask, _: &EventContext| {
        assert!(event.n > 0, "not positive");
        Ok(Answer { n: event.n })
    });
    let policy = Policy::default().blocking(1);
    let runtime = start(Domain::new("oracle").handler(handler.with(policy))).await;
    for _ in 0..3 {
        let error = runtime.request(Ask { n: -1 }).timeout(secs(10)).await.unwrap_err();
        assert!(matches!(&error, RequestError::Handler { .. }), "{error}");
        assert_eq!(runtime.request(Ask { n: 1 }).await.unwrap().n, 1);
    }
    assert_eq!(runtime.metrics().handlers["oracle.On"].restarts, 3);
    runtime.stop().await;
}

#[actix::test]
async fn the_number_of_threads_is_limited() {
    let handler = on(async |_: &Tick, _: &EventContext| Ok(()));
    let domain = Domain::new("clock").handler(handler.with(Policy::default().blocking(100_000)));
    let faults = Runtime::new().mount(domain).start().await.unwrap_err().faults;
    assert!(matches!(faults[..], [StartFault::BadPolicy { .. }]), "{faults:?}");
}
