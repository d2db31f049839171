//! One route: a method and a path enter with an event type and what shall differ from the rule; the
//! endpoint that serves it leaves.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use callboard_actors::{Bus, Event, Replies, RuntimeBuilder};

use super::bind::Binder;
use super::description::Description;
use super::exchange::Terms;
use super::fault::RouteFault;
use super::fields::Shape;
use super::idempotency::IdempotencyStore;
use super::meter::Meter;
use super::mount::Endpoint;
use super::path::Pattern;
use super::quota::Quota;
use super::repeatable::{KeyIs, Once, repeatable};
use super::target::Target;
use super::types::Types;
use super::validity::Check;
use crate::auth::{Access, Requirement, permission_setters};
use crate::settings::ServerSettings;

/// The longest time a request may take: a year, as in the settings.
const TIMEOUT_MAX: Duration = Duration::from_hours(365 * 24);

/// A route from a method and a path to an event: the full form of a line in
/// [`Routes`](super::Routes).
///
/// # The event
///
/// It is made of the path's parameters, the query string and the JSON body, merged by field name:
/// path beats body beats query. GET and DELETE read no body. A text becomes what the JSON schema of
/// its field wants:
///
/// | field | text | value |
/// |---|---|---|
/// | integer, number | a decimal number | that number |
/// | boolean | `true`, `false`, `1`, `0` | that truth value |
/// | list | one item each time its name is given | the list |
/// | `Option` of a number or a boolean | nothing, as in `?age=` | `None` |
/// | anything else | any | the string |
///
/// In a body `2.0` does for the integer 2, as in JSON Schema.
///
/// # The response
///
/// The reply as JSON, with status 201 when its event is named `*.created`, else 204 and no body
/// when it is empty (`null` or `{}`), else 200. An event without a reply is answered with 202 and
/// its trace id once it is published. Every response has a header `x-trace-id`, and every error is
/// a [`Problem`](super::Problem).
///
/// # Who may use it
///
/// Without a provider of identities, anybody. With one ([`App::auth`](crate::App::auth),
/// [`Routes::auth`](super::Routes::auth)), whoever it knows and who has the permissions that the
/// route demands; a route that is [public](Self::public), anybody. That is settled before the body is
/// read, as are the limits of how often it may ask, and the identity goes into the [context](crate::EventContext::identity) of all that follows
/// from the request. Nothing in path, query or body has a say in it.
///
/// # The trace
///
/// A request with a W3C `traceparent` is a part of that trace, and its `tracestate`, of up to 512
/// bytes, travels with the event as a header of that name; any other request begins a new trace. Where
/// spans are recorded ([`OtelSettings`](crate::settings::OtelSettings)) each request has one. Its
/// `x-correlation-id`, of up to 128 letters, digits and `-_.:/+=@`, comes back on the response and
/// travels with the event as a header of that name, also to services that handlers call; without a
/// sound one the response has the trace id there.
///
/// | status | code | when |
/// |---|---|---|
/// | 401 | a code of [`AuthError`](crate::auth::AuthError) | no token, or one that is not valid |
/// | 403 | `forbidden` | a permission is missing |
/// | 400 | `malformed_json`, `bad_encoding`, `broken_body` | a body or a URI that cannot be read |
/// | 429 | `quota_exceeded` | the client has used up a [`Quota`]; `Retry-After` says until when |
/// | 503 | `clients_max` | a quota counts as many other clients as it may |
/// | 405 | `method_not_allowed` | another method; `Allow` names those there are |
/// | 406 | `not_acceptable` | `Accept` excludes `application/json`, and the status is not 204 or 205 |
/// | 408 | `body_timeout` | the body did not arrive in time |
/// | 413 | `body_too_large` | the body is larger than `SERVER_BODY_MAX`, unpacked where it is gzip |
/// | 415 | `unsupported_media_type` | a body that is not `application/json` or `application/*+json`, or in another coding than gzip |
/// | 422 | `invalid` | a field that is missing, of the wrong type or not valid; `errors` names it |
#[derive(Clone)]
pub struct Route {
    pub(super) method: Method,
    pub(super) path: String,
    status: Option<u16>,
    error_statuses: Vec<(Cow<'static, str>, u16)>,
    timeout: Option<Duration>,
    pub(super) access: Access,
    /// The limit of the table that it was in.
    pub(super) table_meter: Option<Arc<Meter>>,
    meter: Option<Arc<Meter>>,
    pub(super) key: Option<KeyIs>,
    /// The store of the table that it was in.
    pub(super) outcomes: Option<Arc<dyn IdempotencyStore>>,
    pub(super) description: Description,
    target: Target,
}

impl Route {
    fn new(method: Method, path: impl Into<String>, target: Target) -> Self {
        Self {
            method,
            path: path.into(),
            status: None,
            error_statuses: Vec::new(),
            timeout: None,
            access: Access::default(),
            table_meter: None,
            meter: None,
            key: None,
            outcomes: None,
            description: Description::default(),
            target,
        }
    }

    /// GET: answers with the reply to `E`.
    pub fn get<E: Replies>(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Target::requesting::<E>())
    }

    /// POST: answers with the reply to `E`.
    pub fn post<E: Replies>(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, Target::requesting::<E>())
    }

    /// PUT: answers with the reply to `E`.
    pub fn put<E: Replies>(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path, Target::requesting::<E>())
    }

    /// PATCH: answers with the reply to `E`.
    pub fn patch<E: Replies>(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path, Target::requesting::<E>())
    }

    /// DELETE: answers with the reply to `E`.
    pub fn delete<E: Replies>(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, Target::requesting::<E>())
    }

    /// POST: answers as soon as `E` is published.
    pub fn publish<E: Event>(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, Target::publishing::<E>())
    }

    /// Answers with the reply to `E`, whatever the method.
    pub(super) fn by_method<E: Replies>(method: Method, path: String) -> Self {
        Self::new(method, path, Target::requesting::<E>())
    }

    /// Sets the status of a success, 200 to 299; with 204 and 205 the reply is left out.
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets the status of a handler's error by its code, 400 to 599.
    pub fn error_status(mut self, code: impl Into<Cow<'static, str>>, status: u16) -> Self {
        self.error_statuses.push((code.into(), status));
        self
    }

    /// Sets how long the client waits at most, the arrival of its body included. Default:
    /// `SERVER_REQUEST_TIMEOUT`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets anybody in, with a provider too. Credentials are not looked at: here nobody is known.
    pub fn public(mut self) -> Self {
        self.access.is_public = true;
        self
    }

    permission_setters!(access.requirement);

    /// Limits how many requests of this route alone one client may make, beside the limits of the
    /// [table](super::Routes::rate_limit) and of the settings `SERVER_RATE_*`: a request is counted by
    /// all of them, or refused.
    pub fn rate_limit(mut self, quota: Quota) -> Self {
        self.meter = Some(Arc::new(Meter::new("route", quota)));
        self
    }

    /// Does the same thing once, however often it is asked for: of all requests of one client with the
    /// same `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header) the first one is done, and
    /// the others get its answer, with `Idempotency-Replayed: true`.
    ///
    /// ```
    /// # use callboard::{Replies, http::{Route, Routes}};
    /// # fn example<PlaceOrder: Replies>() -> Routes {
    /// Routes::new().route(Route::post::<PlaceOrder>("/orders").idempotent())
    /// # }
    /// ```
    ///
    /// A client is an identity, else an address, as for a [`Quota`]; nobody gets an answer that was
    /// given to another. What is the same is method, path, query and body, byte by byte. A request
    /// that has begun goes on when its client goes away, and its outcome waits for the next attempt.
    ///
    /// | the first request | the next one with its key |
    /// |---|---|
    /// | is under way | 409 `idempotency_in_progress`, with `Retry-After` |
    /// | succeeded, or a handler rejected it for good | the same status, type and body |
    /// | was refused by the edge, failed with 5xx or 429, or died | is done as if it were the first |
    /// | was another one | 422 `idempotency_key_reused` |
    ///
    /// A key is a text of 1 to 255 characters, with the quotes of the draft or without; any other is
    /// 400 `bad_idempotency_key`. A request without a key is done each time. Outcomes are kept as long
    /// as `SERVER_IDEMPOTENCY_TTL` says, 24 hours, in an [`IdempotencyStore`]; when it has no room
    /// the answer is 503.
    pub fn idempotent(mut self) -> Self {
        self.key = Some(KeyIs::Welcome);
        self
    }

    /// The same, and a request without a key is 400 `idempotency_key_missing`.
    pub fn idempotency_key_required(mut self) -> Self {
        self.key = Some(KeyIs::Required);
        self
    }

    /// The limits of the table and of its own.
    pub(super) fn meters(&self) -> impl Iterator<Item = &Arc<Meter>> {
        self.table_meter.iter().chain(&self.meter)
    }

    /// Whether anybody may use it, with a provider too.
    pub fn is_public(&self) -> bool {
        self.access.is_public
    }

    /// The permissions that it demands.
    pub fn requirement(&self) -> &Requirement {
        &self.access.requirement
    }

    /// Adds a heading under which the API's description lists the route. Default: what the event's
    /// name says, such as `User`.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.description.tags.push(tag.into());
        self
    }

    /// Sets a few words for the API's description. Default: what the event's name says, such as
    /// `Create user`.
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.description.summary = Some(summary.into());
        self
    }

    /// Sets a text for the API's description, in `CommonMark`. Default: the documentation of
    /// the event's type.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description.text = Some(text.into());
        self
    }

    /// Sets the name of the route for programs that are generated from the API's description.
    /// Default: the event's name, with `_` for the dots. No two routes share one.
    pub fn operation_id(mut self, id: impl Into<String>) -> Self {
        self.description.operation_id = Some(id.into());
        self
    }

    /// Tells users of the API to do without the route; it works as before.
    pub fn deprecated(mut self) -> Self {
        self.description.is_deprecated = true;
        self
    }

    /// Leaves the route out of the API's description; it works as before.
    pub fn hidden(mut self) -> Self {
        self.description.is_hidden = true;
        self
    }

    /// The HTTP method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, as it was declared.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name of the event.
    pub fn event(&self) -> &'static str {
        self.target.event
    }

    pub(super) fn types(&self) -> Types {
        self.target.types
    }

    /// The status of a success, where the route names one.
    pub(super) fn success_status(&self) -> Option<u16> {
        self.status
    }

    /// The statuses of handlers' errors, by code.
    pub(super) fn error_statuses(&self) -> &[(Cow<'static, str>, u16)] {
        &self.error_statuses
    }

    pub(super) fn declare(&self, runtime: RuntimeBuilder) -> RuntimeBuilder {
        (self.target.declare)(runtime)
    }

    /// What is wrong with the route itself, whatever other routes there are.
    pub(super) fn faults(&self) -> Vec<RouteFault> {
        let route = || self.to_string();
        let mut faults = Vec::new();
        let fields = (self.target.fields)();
        if fields.shape() == Shape::Other {
            faults.push(RouteFault::NoFields { route: route() });
        }
        match Pattern::parse(&self.path) {
            Err(reason) => faults.push(RouteFault::BadPath { route: route(), reason }),
            Ok(pattern) => {
                for name in pattern.params().filter(|name| !fields.takes(name)) {
                    faults.push(RouteFault::UnknownParameter {
                        route: route(),
                        parameter: name.to_owned(),
                    });
                }
            }
        }
        if let Some(status) = self.status.filter(|status| !(200..300).contains(status)) {
            faults.push(RouteFault::BadStatus { route: route(), status });
        }
        for (code, status) in &self.error_statuses {
            if !(400..600).contains(status) {
                faults.push(RouteFault::BadErrorStatus {
                    route: route(),
                    code: code.to_string(),
                    status: *status,
                });
            }
        }
        for reason in self.meters().filter_map(|meter| meter.quota.fault()) {
            faults.push(RouteFault::BadQuota { route: route(), reason });
        }
        if self.key.is_some() && self.method == Method::GET {
            faults.push(RouteFault::NeedlessKey { route: route() });
        }
        let works = |timeout| !Duration::is_zero(&timeout) && timeout <= TIMEOUT_MAX;
        if self.timeout.is_some_and(|timeout| !works(timeout)) {
            faults.push(RouteFault::BadTimeout { route: route() });
        }
        faults
    }

    /// The endpoint of a route without faults.
    pub(super) fn endpoint(
        &self,
        pattern: &Pattern,
        bus: &Bus,
        settings: &ServerSettings,
        check: Option<Check>,
    ) -> Box<dyn Endpoint> {
        let reads_body = [Method::POST, Method::PUT, Method::PATCH].contains(&self.method);
        let binder = Binder {
            params: pattern.params().map(str::to_owned).collect(),
            fields: (self.target.fields)(),
            body_max: reads_body.then_some(settings.body_max),
        };
        let error_statuses = self.error_statuses.iter();
        let timeout = self.timeout.unwrap_or(settings.request_timeout);
        let terms = Terms {
            bus: bus.clone(),
            // Nothing checks what a program wrote into the settings itself.
            timeout: timeout.min(TIMEOUT_MAX),
            status: self.status.and_then(|code| StatusCode::from_u16(code).ok()),
            error_statuses: error_statuses
                .filter_map(|(code, status)| {
                    let status = StatusCode::from_u16(*status).ok()?;
                    Some((code.clone(), status))
                })
                .collect(),
            check,
        };
        let (body_max, timeout) = (binder.body_max, terms.timeout);
        let endpoint = (self.target.endpoint)(binder, terms);
        match (self.key, &self.outcomes) {
            (Some(key_is), Some(store)) => {
                let (store, bus) = (Arc::clone(store), bus.clone());
                let proxies = Arc::new(settings.proxies.clone());
                let once = Once { key_is, store, bus, proxies, body_max, timeout };
                repeatable(once, endpoint)
            }
            _ => endpoint,
        }
    }
}

/// One line of a listing: `POST /users -> user.create`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.method, self.path, self.event())
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("event", &self.event())
            .finish_non_exhaustive()
    }
}
