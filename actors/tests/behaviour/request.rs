//! A request ends by the first of reply, error, end of the chain, timeout and shutdown.

use std::sync::Arc;

use crate::play::{Answer, Ask, Begin, Begun, Ended, SetOnDrop, assert_took, on, three_links};
use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{ErrorKind, RequestError, millis, secs};
use parking_lot::Mutex;

/// parity: W1
#[actix::test]
async fn the_error_of_the_first_link_arrives_at_once() {
    let bus = three_links(1).await;
    let begun = tokio::time::Instant::now();
    let error = bus.request(Begin { n: 7 }).until::<Ended>().await.unwrap_err();
    assert!(
        matches!(&error, RequestError::Handler { event: "one.begin", handler, .. } if handler == "one.First")
    );
    assert_eq!(error.code(), "broken");
    assert_took(begun, millis(0));
}

/// parity: W1
#[actix::test]
async fn the_error_of_the_third_link_arrives_at_once() {
    let bus = three_links(3).await;
    let error = bus.request(Begin { n: 7 }).until::<Ended>().await.unwrap_err();
    assert!(
        matches!(&error, RequestError::Handler { event: "two.went_on", handler, .. } if handler == "three.Third")
    );
}

#[actix::test]
async fn the_reply_may_come_from_the_third_link() {
    let bus = three_links(0).await;
    let ended = bus.request(Begin { n: 7 }).until::<Ended>().await.unwrap();
    assert_eq!(ended.n, 10);
    let begun = bus.request(Begin { n: 7 }).await.unwrap();
    assert_eq!(begun.n, 8, "without `until` the declared reply is the answer");
}

/// parity: W2
#[actix::test]
async fn without_a_subscriber_the_answer_is_no_handler_at_once() {
    let bus = TestBus::start([]).await.unwrap();
    let begun = tokio::time::Instant::now();
    let error = bus.request(Begin { n: 1 }).await.unwrap_err();
    assert!(matches!(error, RequestError::NoHandler { event: "one.begin", .. }));
    assert_took(begun, millis(0));
}

/// parity: W3
#[actix::test]
async fn an_awaited_event_still_reaches_its_subscribers() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&seen);
    let listener = on(async move |event: &Begun, _: &EventContext| {
        write.lock().push(event.n);
        Ok(())
    });
    let first = on(async |event: &Begin, _: &EventContext| Ok(Begun { n: event.n + 1 }));
    let bus =
        TestBus::start([Domain::new("one").handler(first), Domain::new("ears").handler(listener)])
            .await
            .unwrap();
    bus.request(Begin { n: 1 }).await.unwrap();
    bus.quiet().await;
    assert_eq!(*seen.lock(), [2]);
}

#[actix::test]
async fn a_chain_that_ends_without_the_wanted_event_says_so_at_once() {
    let silent = on(async |_: &Begin, _: &EventContext| Ok(None::<Begun>));
    let bus = TestBus::start([Domain::new("one").handler(silent)]).await.unwrap();
    let begun = tokio::time::Instant::now();
    let error = bus.request(Begin { n: 1 }).await.unwrap_err();
    assert!(matches!(error, RequestError::NoReply { wanted: "one.begun", .. }));
    assert_took(begun, millis(0));
}

#[actix::test]
async fn a_timeout_drops_the_handler_s_future() {
    let dropped = Arc::new(Mutex::new(false));
    let flag = Arc::clone(&dropped);
    let slow = on(async move |_: &Begin, _: &EventContext| {
        let _guard = SetOnDrop(Arc::clone(&flag));
        tokio::time::sleep(secs(60)).await;
        Ok(Begun { n: 0 })
    });
    let bus = TestBus::start([Domain::new("one").handler(slow)]).await.unwrap();
    let begun = tokio::time::Instant::now();
    let error = bus.request(Begin { n: 1 }).timeout(millis(200)).await.unwrap_err();
    assert!(matches!(error, RequestError::Timeout { after, .. } if after == millis(200)));
    bus.quiet().await;
    assert!(*dropped.lock());
    assert_took(begun, millis(200));
}

#[actix::test]
async fn a_timeout_without_end_is_a_long_one() {
    let answer = on(async |event: &Ask, _: &EventContext| Ok(Answer { n: event.n }));
    let bus = TestBus::start([Domain::new("oracle").handler(answer)]).await.unwrap();
    let request = bus.request(Ask { n: 1 }).timeout(std::time::Duration::MAX);
    assert_eq!(request.await.unwrap().n, 1);
}

/// parity: W11
#[actix::test]
async fn a_foreign_event_of_the_same_trace_cannot_complete_a_request() {
    let slow = on(async |event: &Begin, _: &EventContext| {
        tokio::time::sleep(millis(50)).await;
        Ok(Begun { n: event.n })
    });
    let bus = TestBus::start([Domain::new("one").handler(slow)]).await.unwrap();
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
    let request = bus.request(Begin { n: 1 }).trace_id(trace_id);
    let intruder = async {
        tokio::time::sleep(millis(10)).await;
        bus.publish(Begun { n: 666 }).trace_id(trace_id).await.unwrap();
    };
    let (reply, ()) = tokio::join!(request.into_future(), intruder);
    assert_eq!(reply.unwrap().n, 1);
}

/// parity: W10
#[actix::test]
async fn a_request_inside_a_handler_continues_the_trace_and_inherits_the_deadline() {
    let left = Arc::new(Mutex::new(None));
    let write = Arc::clone(&left);
    let asker = on(async |event: &Begin, ctx: &EventContext| {
        tokio::time::sleep(millis(100)).await;
        let answer = ctx.request(Ask { n: event.n }).await?;
        Ok(Begun { n: answer.n })
    });
    let answerer = on(async move |event: &Ask, ctx: &EventContext| {
        *write.lock() = Some((ctx.trace_id(), ctx.causation_id(), ctx.remaining()));
        Ok(Answer { n: event.n * 2 })
    });
    let bus = TestBus::start([
        Domain::new("one").handler(asker),
        Domain::new("oracle").handler(answerer),
    ])
    .await
    .unwrap();
    let reply = bus.request(Begin { n: 21 }).timeout(secs(1)).envelope().await.unwrap();
    assert_eq!(reply.event::<Begun>().unwrap().n, 42);
    let (trace_id, cause, remaining) = left.lock().unwrap();
    assert_eq!(trace_id, reply.trace_id());
    assert_eq!(cause, reply.causation_id(), "both were caused by the first event");
    assert!(remaining.unwrap() <= millis(900), "the second request had {remaining:?}");
}

#[actix::test]
async fn a_rejection_inside_keeps_its_kind_through_the_question_mark() {
    let asker = on(async |_: &Begin, ctx: &EventContext| {
        let answer = ctx.request(Ask { n: 0 }).await?;
        Ok(Begun { n: answer.n })
    });
    let answerer = on::<Ask, Answer, _>(async |_: &Ask, _: &EventContext| {
        Err(HandlerError::not_found("no such oracle"))
    });
    let bus = TestBus::start([
        Domain::new("one").handler(asker),
        Domain::new("oracle").handler(answerer),
    ])
    .await
    .unwrap();
    let error = bus.request(Begin { n: 1 }).await.unwrap_err();
    let RequestError::Handler { error, .. } = error else { panic!("{error}") };
    assert!(matches!(error.kind(), ErrorKind::Reject(_)));
    assert_eq!(error.error_code(), "not_found");
    assert_eq!(bus.dead_letters().count(), 0, "whoever asked was told");
}

#[actix::test]
async fn who_asks_a_handler_that_panics_has_not_panicked() {
    let asker = on(async |_: &Begin, ctx: &EventContext| {
        let answer = ctx.request(Ask { n: 0 }).await?;
        Ok(Begun { n: answer.n })
    });
    let answerer = on(async |_: &Ask, _: &EventContext| -> HandlerResult<Answer> { panic!("oh") });
    let bus = TestBus::start([
        Domain::new("one").handler(asker),
        Domain::new("oracle").handler(answerer),
    ])
    .await
    .unwrap();
    let error = bus.request(Begin { n: 1 }).await.unwrap_err();
    assert!(matches!(&error, RequestError::Handler { handler, .. } if handler == "one.On"));
    assert_eq!(error.code(), "panic");
    bus.quiet().await;
    let handlers = bus.metrics().handlers;
    assert_eq!((handlers["one.On"].restarts, handlers["oracle.On"].restarts), (0, 1));
}

#[actix::test]
async fn two_answering_handlers_are_refused_unless_they_stand_in_line() {
    let answer = |n| on(async move |_: &Ask, _: &EventContext| Ok(Answer { n }));
    let two = Domain::new("oracle").handler(answer(1)).handler(answer(2));
    let bus = TestBus::start([two]).await.unwrap();
    let error = bus.request(Ask { n: 0 }).await.unwrap_err();
    assert!(matches!(error, RequestError::Ambiguous { .. }), "{error}");

    let line = Domain::new("oracle")
        .handler(answer(1).with(Policy::default().priority(1)))
        .handler(answer(2).with(Policy::default().priority(2)));
    let bus = TestBus::start([line]).await.unwrap();
    assert_eq!(bus.request(Ask { n: 0 }).await.unwrap().n, 2, "the higher priority answers");
}

#[actix::test]
async fn the_next_in_line_answers_what_the_first_declines() {
    let picky = on(
        async |event: &Ask, _: &EventContext| {
            if event.n > 9 { Err(HandlerError::decline()) } else { Ok(Answer { n: 1 }) }
        },
    );
    let modest = on(
        async |event: &Ask, _: &EventContext| {
            if event.n > 99 { Err(HandlerError::decline()) } else { Ok(Answer { n: 2 }) }
        },
    );
    let line = Domain::new("oracle")
        .handler(modest.with(Policy::default().priority(1)))
        .handler(picky.with(Policy::default().priority(2)));
    let bus = TestBus::start([line]).await.unwrap();
    assert_eq!(bus.request(Ask { n: 5 }).await.unwrap().n, 1);
    assert_eq!(bus.request(Ask { n: 50 }).await.unwrap().n, 2);
    let error = bus.request(Ask { n: 500 }).await.unwrap_err();
    assert!(matches!(error, RequestError::NoHandler { .. }), "{error}");
    let tracked = bus.publish_tracked(Ask { n: 500 }).await.unwrap();
    assert_eq!(tracked.dead_letters().len(), 1, "nobody was there to be told");
}

#[actix::test]
async fn the_outcome_arrives_at_an_actor_s_address() {
    use actix::prelude::*;
    use callboard_actors::Reply;

    struct Asker(Option<tokio::sync::oneshot::Sender<i64>>);
    impl Actor for Asker {
        type Context = Context<Self>;
    }
    impl Handler<Reply<Answer>> for Asker {
        type Result = ();
        fn handle(&mut self, Reply(outcome): Reply<Answer>, _: &mut Context<Self>) {
            self.0.take().expect("one reply").send(outcome.unwrap().n).unwrap();
        }
    }

    let answer = on(async |event: &Ask, _: &EventContext| Ok(Answer { n: event.n + 1 }));
    let bus = TestBus::start([Domain::new("oracle").handler(answer)]).await.unwrap();
    let (told, tells) = tokio::sync::oneshot::channel();
    let asker = Asker(Some(told)).start();
    bus.request(Ask { n: 1 }).reply_to(asker.recipient());
    assert_eq!(tells.await.unwrap(), 2);
}
