//! One route: a method and a path enter with an event type and what shall differ from the rule; the
//! endpoint that serves it leaves.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use callboard_actors::{Bus, Event, Replies, RuntimeBuilder};

use super::bind::Binder;
use super::description::Description;
use super::exchange::{Terms, publishing, requesting};
use super::fault::RouteFault;
use super::fields::{Fields, Shape};
use super::mount::Endpoint;
use super::path::Pattern;
use super::types::Types;
use super::validity::Check;
use crate::auth::{Access, Requirement};
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
/// read, and the identity goes into the [context](crate::EventContext::identity) of all that follows
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
/// | 405 | `method_not_allowed` | another method; `Allow` names those there are |
/// | 406 | `not_acceptable` | `Accept` excludes `application/json`, and the status is not 204 or 205 |
/// | 408 | `body_timeout` | the body did not arrive in time |
/// | 413 | `body_too_large` | the body is larger than `SERVER_BODY_MAX` |
/// | 415 | `unsupported_media_type` | a body that is not `application/json` or `application/*+json` |
/// | 422 | `invalid` | a field that is missing, of the wrong type or not valid; `errors` names it |
#[derive(Clone)]
pub struct Route {
    pub(super) method: Method,
    pub(super) path: String,
    status: Option<u16>,
    error_statuses: Vec<(Cow<'static, str>, u16)>,
    timeout: Option<Duration>,
    pub(super) access: Access,
    pub(super) description: Description,
    target: Target,
}

/// What a route does with its event type, which is erased.
#[derive(Clone, Copy)]
struct Target {
    event: &'static str,
    types: Types,
    declare: fn(RuntimeBuilder) -> RuntimeBuilder,
    fields: fn() -> Fields,
    endpoint: fn(Binder, Terms) -> Box<dyn Endpoint>,
}

impl Target {
    fn requesting<E: Replies>() -> Self {
        Self {
            event: E::NAME,
            types: Types::requested::<E>(),
            declare: RuntimeBuilder::requests::<E>,
            fields: Fields::of::<E>,
            endpoint: requesting::<E>,
        }
    }

    fn publishing<E: Event>() -> Self {
        Self {
            event: E::NAME,
            types: Types::published::<E>(),
            declare: RuntimeBuilder::publishes::<E>,
            fields: Fields::of::<E>,
            endpoint: publishing::<E>,
        }
    }
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

    /// Demands each of these permissions.
    ///
    /// ```
    /// # use callboard::{Event, Replies, http::Route};
    /// # fn example<PlaceOrder: Replies>() -> Route {
    /// Route::post::<PlaceOrder>("/orders").permissions_all(["orders.write"])
    /// # }
    /// ```
    pub fn permissions_all<P: Into<Cow<'static, str>>>(
        mut self,
        permissions: impl IntoIterator<Item = P>,
    ) -> Self {
        self.access.requirement = self.access.requirement.permissions_all(permissions);
        self
    }

    /// Demands one of these permissions at least, beside what is demanded already.
    pub fn permissions_any<P: Into<Cow<'static, str>>>(
        mut self,
        permissions: impl IntoIterator<Item = P>,
    ) -> Self {
        self.access.requirement = self.access.requirement.permissions_any(permissions);
        self
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
        (self.target.endpoint)(binder, terms)
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
