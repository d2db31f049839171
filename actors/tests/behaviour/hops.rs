//! A chain that goes in circles ends as a dead letter that names the circle.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{DeadReason, PublishError, RequestError, Runtime};

use crate::play::{Begin, Begun, Ended, WentOn, on};

/// `one.begin` → `one.begun` → `two.went_on` → `one.begun`, and so on.
async fn circle() -> TestBus {
    let one = Domain::new("one")
        .handler(on(async |e: &Begin, _: &EventContext| Ok(Begun { n: e.n })))
        .handler(on(async |e: &WentOn, _: &EventContext| Ok(Begun { n: e.n + 1 })));
    let two =
        Domain::new("two").handler(on(async |e: &Begun, _: &EventContext| Ok(WentOn { n: e.n })));
    let builder = Runtime::new().hops_max(10).mount(one).mount(two);
    TestBus::start_with(builder).await.unwrap()
}

#[actix::test]
async fn a_loop_of_events_ends_in_a_dead_letter_that_names_it() {
    let bus = circle().await;
    let tracked = bus.publish_tracked(Begin { n: 1 }).await.unwrap();
    let [letter] = tracked.dead_letters() else { panic!("{:?}", tracked.dead_letters()) };
    assert_eq!(letter.envelope.name(), "one.begun");
    let DeadReason::Refused(refused) = &letter.reason else { panic!("{}", letter.reason) };
    let PublishError::TooManyHops { hops: 11, cycle, .. } = refused else { panic!("{refused}") };
    assert_eq!(cycle, "one.begun → two.went_on → one.begun");
    assert!(letter.reason.to_string().contains(cycle), "{}", letter.reason);
    assert_eq!(tracked.published::<Begun>().count(), 5);
}

#[actix::test]
async fn who_asked_is_told_of_the_loop() {
    let bus = circle().await;
    let error = bus.request(Begin { n: 1 }).until::<Ended>().await.unwrap_err();
    assert!(matches!(error, RequestError::TooManyHops { hops: 11, .. }), "{error}");
    assert!(error.to_string().contains("one.begun → two.went_on → one.begun"), "{error}");
}

#[actix::test]
async fn a_loop_that_no_handler_declares_is_a_question() {
    let again = on(async |e: &Begin, ctx: &EventContext| {
        ctx.publish(Begin { n: e.n + 1 });
        Ok(())
    });
    let builder = Runtime::new().hops_max(3).mount(Domain::new("one").handler(again));
    let bus = TestBus::start_with(builder).await.unwrap();
    let tracked = bus.publish_tracked(Begin { n: 0 }).await.unwrap();
    let reason = tracked.dead_letters()[0].reason.to_string();
    assert!(reason.contains("a loop of events?"), "{reason}");
    assert_eq!(tracked.published::<Begin>().count(), 4);
}
