//! The session of one HTTP exchange: a bound event enters the bus, its reply arrives at the
//! session's own address, and the response leaves.

use std::borrow::Cow;
use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use callboard_actors::{Bus, Event, Replies, Reply, Request, RequestError, TraceId};
use serde_json::json;
use tokio::time::Instant;

use super::bind::Binder;
use super::call::Call;
use super::mount::{Answer, Endpoint};
use super::problem::Problem;

/// What the facts that say "there is a new one" are called; their status is 201.
const CREATED: &str = ".created";

/// How a route speaks with the bus and with its client; resolved once.
pub(super) struct Terms {
    pub(super) bus: Bus,
    pub(super) timeout: Duration,
    /// The status of a success, where the route names one.
    pub(super) status: Option<StatusCode>,
    /// The status of an error, by the handler's code.
    pub(super) error_statuses: Vec<(Cow<'static, str>, StatusCode)>,
}

impl Terms {
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
            _ => response.content_type("application/json").body(body),
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
struct Requesting<E> {
    binder: Binder,
    terms: Arc<Terms>,
    event: PhantomData<fn() -> E>,
}

/// The endpoint of an event without a reply.
struct Publishing<E> {
    binder: Binder,
    terms: Terms,
    event: PhantomData<fn() -> E>,
}

/// Answers with the reply to `E`.
pub(super) fn requesting<E: Replies>(binder: Binder, terms: Terms) -> Box<dyn Endpoint> {
    let (terms, event) = (Arc::new(terms), PhantomData::<fn() -> E>);
    Box::new(Requesting { binder, terms, event })
}

/// Answers as soon as `E` is published.
pub(super) fn publishing<E: Event>(binder: Binder, terms: Terms) -> Box<dyn Endpoint> {
    let event = PhantomData::<fn() -> E>;
    Box::new(Publishing { binder, terms, event })
}

impl<E: Replies> Endpoint for Requesting<E> {
    fn answer(&self, mut call: Call) -> Answer<'_> {
        Box::pin(async move {
            let deadline = Instant::now() + self.terms.timeout;
            let event: E = self.binder.bind(&mut call, deadline).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            let request = self.terms.bus.request(event);
            let request = request.trace_id(call.trace_id).timeout(left).no_wait();
            converse(request, Arc::clone(&self.terms)).await
        })
    }
}

impl<E: Event> Endpoint for Publishing<E> {
    fn answer(&self, mut call: Call) -> Answer<'_> {
        Box::pin(async move {
            let deadline = Instant::now() + self.terms.timeout;
            let event: E = self.binder.bind(&mut call, deadline).await?;
            let publish = self.terms.bus.publish(event).trace_id(call.trace_id);
            publish.try_now()?;
            Ok(self.accepted(call.trace_id))
        })
    }
}

impl<E> Publishing<E> {
    fn accepted(&self, trace_id: TraceId) -> HttpResponse {
        let status = self.terms.status.unwrap_or(StatusCode::ACCEPTED);
        let mut response = HttpResponse::build(status);
        match status {
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => response.finish(),
            _ => response.json(json!({ "trace_id": trace_id })),
        }
    }
}

/// Runs the session of one exchange to its end.
///
/// The actor is polled here, in the task of its connection, which costs no task of its own; and
/// when the client goes away actix-web drops this future, and the actor with it.
async fn converse<E: Replies>(
    request: Request<E, E::Reply>,
    terms: Arc<Terms>,
) -> Result<HttpResponse, Problem> {
    let answer = Rc::new(Cell::new(None));
    let exchange = Exchange { request: Some(request), terms, answer: Rc::clone(&answer) };
    Context::new().into_future(exchange).await;
    answer.take().unwrap_or_else(|| {
        let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no_reply");
        Err(problem.internal("the reply was lost on its way to the session"))
    })
}

/// The session: an actor that lives as long as one request and its response.
struct Exchange<E: Replies> {
    request: Option<Request<E, E::Reply>>,
    terms: Arc<Terms>,
    answer: Rc<Cell<Option<Result<HttpResponse, Problem>>>>,
}

impl<E: Replies> Actor for Exchange<E> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(request) = self.request.take() {
            request.reply_to(ctx.address().recipient());
        }
    }
}

impl<E: Replies> Handler<Reply<E::Reply>> for Exchange<E> {
    type Result = ();

    fn handle(&mut self, Reply(outcome): Reply<E::Reply>, ctx: &mut Self::Context) {
        self.answer.set(Some(match outcome {
            Ok(reply) => self.terms.success(&reply),
            Err(error) => Err(self.terms.failure(&error)),
        }));
        ctx.stop();
    }
}
