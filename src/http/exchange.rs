//! One HTTP exchange: a bound event enters the bus, its reply arrives, at the exchange's own session
//! where it has to be waited for, and the response leaves.

use std::borrow::Cow;
use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler};
use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header::HeaderValue};
use callboard_actors::{Bus, Event, Replies, Reply, RequestError, Requesting, TraceId};
use futures_util::poll;
use serde_json::json;

use super::accept;
use super::bind::Binder;
use super::call::Call;
use super::lineage::{CORRELATION_ID, TRACE_STATE};
use super::mount::{Answer, Endpoint};
use super::problem::Problem;
use super::validity::{Check, pass};

/// What the facts that say "there is a new one" are called; their status is 201.
const CREATED: &str = ".created";

/// The type of a reply's body.
const JSON_TYPE: &str = "application/json";
const JSON: HeaderValue = HeaderValue::from_static(JSON_TYPE);

/// Whether an answer of this status never has a body.
fn has_no_body(status: StatusCode) -> bool {
    [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT].contains(&status)
}

/// How a route speaks with the bus and with its client; resolved once.
pub(super) struct Terms {
    pub(super) bus: Bus,
    pub(super) timeout: Duration,
    /// The status of a success, where the route names one.
    pub(super) status: Option<StatusCode>,
    /// The status of an error, by the handler's code.
    pub(super) error_statuses: Vec<(Cow<'static, str>, StatusCode)>,
    /// What an event has to pass, beyond being one.
    pub(super) check: Option<Check>,
}

impl Terms {
    /// Refuses a call whose client takes no JSON, unless the route never answers with any.
    fn check_accept(&self, call: &Call) -> Result<(), Problem> {
        if self.status.is_some_and(has_no_body) {
            return Ok(());
        }
        accept::demand(call.request.headers(), JSON_TYPE)
    }

    fn success<R: Event>(&self, reply: &R) -> Result<HttpResponse, Problem> {
        let body = serde_json::to_vec(reply).map_err(|error| {
            let text = format!("`{}` does not serialize: {error}", R::NAME);
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "bad_reply").internal(text)
        })?;
        let status = self.status.unwrap_or(match body.as_slice() {
            _ if R::NAME.ends_with(CREATED) => StatusCode::CREATED,
            b"null" | b"{}" => StatusCode::NO_CONTENT,
            _ => StatusCode::OK,
        });
        let mut response = HttpResponse::build(status);
        Ok(match status {
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => response.finish(),
            _ => response.content_type(JSON).body(body),
        })
    }

    fn failure(&self, error: &RequestError) -> Problem {
        let problem = Problem::from(error);
        let RequestError::Handler { error, .. } = error else {
            return problem;
        };
        let mut statuses = self.error_statuses.iter();
        match statuses.find(|(code, _)| code == error.error_code()) {
            Some((_, status)) => problem.with_status(*status),
            None => problem,
        }
    }
}

/// The endpoint of an event with a reply.
struct RequestEndpoint<E> {
    binder: Binder,
    terms: Terms,
    event: PhantomData<fn() -> E>,
}

/// The endpoint of an event without a reply.
struct PublishEndpoint<E> {
    binder: Binder,
    terms: Terms,
    event: PhantomData<fn() -> E>,
}

/// Answers with the reply to `E`.
pub(super) fn requesting<E: Replies>(binder: Binder, terms: Terms) -> Box<dyn Endpoint> {
    let event = PhantomData::<fn() -> E>;
    Box::new(RequestEndpoint { binder, terms, event })
}

/// Answers as soon as `E` is published.
pub(super) fn publishing<E: Event>(binder: Binder, terms: Terms) -> Box<dyn Endpoint> {
    let event = PhantomData::<fn() -> E>;
    Box::new(PublishEndpoint { binder, terms, event })
}

/// Says where an event comes from, whether it is published or requested.
macro_rules! of_call {
    ($event:expr, $call:expr) => {{
        let mut event = match $call.lineage.parent {
            Some(parent) => $event.trace_parent(parent),
            None => $event.trace_id($call.lineage.trace_id),
        };
        if let Some(state) = $call.trace_state() {
            event = event.header(TRACE_STATE.as_str(), state);
        }
        if let Some(id) = $call.correlation_id() {
            event = event.header(CORRELATION_ID.as_str(), id);
        }
        match $call.identity.take() {
            Some(identity) => event.identity(identity),
            None => event,
        }
    }};
}

impl<E: Replies> Endpoint for RequestEndpoint<E> {
    fn answer(&self, mut call: Call) -> Answer<'_> {
        Box::pin(async move {
            self.terms.check_accept(&call)?;
            let mut patience = call.patience(self.terms.timeout);
            let event: E = self.binder.bind(&mut call, &mut patience).await?;
            pass(&event, self.terms.check)?;
            let request = self.terms.bus.request(event).timeout(patience.left()).no_wait();
            let request = of_call!(request, call);
            let mut reply = request.into_future();
            let outcome = match poll!(&mut reply) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => Box::pin(converse(reply)).await,
            };
            match outcome {
                Some(Ok(reply)) => self.terms.success(&reply),
                Some(Err(error)) => Err(self.terms.failure(&error)),
                None => Err(lost()),
            }
        })
    }
}

impl<E: Event> Endpoint for PublishEndpoint<E> {
    fn answer(&self, mut call: Call) -> Answer<'_> {
        Box::pin(async move {
            self.terms.check_accept(&call)?;
            let mut patience = call.patience(self.terms.timeout);
            let event: E = self.binder.bind(&mut call, &mut patience).await?;
            pass(&event, self.terms.check)?;
            let trace_id = call.lineage.trace_id;
            of_call!(self.terms.bus.publish(event), call).try_now()?;
            Ok(self.accepted(trace_id))
        })
    }
}

impl<E> PublishEndpoint<E> {
    fn accepted(&self, trace_id: TraceId) -> HttpResponse {
        let status = self.terms.status.unwrap_or(StatusCode::ACCEPTED);
        let mut response = HttpResponse::build(status);
        match status {
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => response.finish(),
            _ => response.json(json!({ "trace_id": trace_id })),
        }
    }
}

fn lost() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no_reply")
        .internal("the reply was lost on its way to the session")
}

/// Waits for a reply, which is the business of a session; `None` if it was lost on its way.
///
/// The session's actor is polled here, in the task of the connection, which costs no task of its own;
/// and when the client goes away actix-web drops this future, and the actor with it.
async fn converse<E: Replies>(reply: Requesting<E, E::Reply>) -> Option<Outcome<E::Reply>> {
    let outcome = Rc::new(Cell::new(None));
    let session = Session { reply: Some(reply), outcome: Rc::clone(&outcome) };
    Context::new().into_future(session).await;
    outcome.take()
}

type Outcome<R> = Result<R, RequestError>;

/// The session: an actor that lives as long as its client waits for the reply, which arrives at its
/// address.
struct Session<E: Replies> {
    reply: Option<Requesting<E, E::Reply>>,
    outcome: Rc<Cell<Option<Outcome<E::Reply>>>>,
}

impl<E: Replies> Actor for Session<E> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(reply) = self.reply.take() {
            reply.reply_to(ctx.address().recipient());
        }
    }
}

impl<E: Replies> Handler<Reply<E::Reply>> for Session<E> {
    type Result = ();

    fn handle(&mut self, Reply(outcome): Reply<E::Reply>, ctx: &mut Context<Self>) {
        self.outcome.set(Some(outcome));
        ctx.stop();
    }
}
