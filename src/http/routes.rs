//! The table of routes: lines from method and path to event enter, a configuration for an
//! actix-web application leaves.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use actix_web::web::ServiceConfig;
use callboard_actors::{Bus, Event, Replies, RuntimeBuilder};
use serde_json::Value;

use super::fault::{RouteFault, RoutesError};
use super::idempotency::{IdempotencyStore, MemoryIdempotency};
use super::meter::{Meter, Meters};
use super::mount::{Mount, Unusable};
use super::openapi::{Info, describe};
use super::path::Pattern;
use super::private::metered;
use super::quota::Quota;
use super::rest::Rest;
use super::route::Route;
use super::traffic::Traffic;
use super::validity::Check;
#[cfg(feature = "validate")]
use super::validity::check_of;
use crate::auth::{Access, Provider};
use crate::settings::ServerSettings;

/// Who publishes what comes in here, as the event log shows it.
const SOURCE: &str = "http";

/// Which events can be reached over HTTP, and how: a plain value, without a bus.
///
/// ```
/// use actix_web::App;
/// use callboard::{http::{Route, Routes}, prelude::*, Runtime, secs};
/// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct FindUser { user_id: i64 }
/// # impl Event for FindUser { const NAME: &'static str = "user.find"; }
/// # impl Replies for FindUser { type Reply = UserFound; }
/// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct UserFound { name: String }
/// # impl Event for UserFound { const NAME: &'static str = "user.found"; }
/// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct PlaceOrder { item: String }
/// # impl Event for PlaceOrder { const NAME: &'static str = "order.place"; }
/// # impl Replies for PlaceOrder { type Reply = UserFound; }
///
/// # #[derive(Clone)] struct Find;
/// # impl EventHandler for Find {
/// #     type Input = FindUser;
/// #     type Output = UserFound;
/// #     async fn handle(&self, _: &FindUser, _: &EventContext) -> HandlerResult<UserFound> {
/// #         Ok(UserFound { name: "Ada".into() })
/// #     }
/// # }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let routes = Routes::new()
///     .get::<FindUser>("/users/{user_id}")
///     .route(Route::post::<PlaceOrder>("/orders").status(201).timeout(secs(10)));
/// routes.check()?;
///
/// let domain = Domain::new("user").handler(Find);
/// let runtime = routes.declare(Runtime::new().mount(domain)).start().await?;
/// let api = routes.install(runtime.bus());
/// let app = move || App::new().configure(api.clone());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_field_names)] // the routes are what a table of routes has
#[must_use = "routes do nothing until they are installed"]
pub struct Routes {
    routes: Vec<Route>,
    /// Of whom those are known that ask; a route may have another one, from the table it was in.
    access: Access,
    /// The limit of the routes that do not have one from the table they were in.
    meter: Option<Arc<Meter>>,
    outcomes: Outcomes,
    traffic: Traffic,
    convention: Rest,
    checks: HashMap<&'static str, Check>,
}

/// Where the outcomes of requests are kept that may come again; by default in memory.
#[derive(Clone, Default)]
struct Outcomes(Option<Arc<dyn IdempotencyStore>>);

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outcomes").field(&self.0.is_some()).finish()
    }
}

impl Routes {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the route that the event's name asks for: `user.create` is `POST /users`; see [`Rest`].
    pub fn rest<E: Replies>(self) -> Self {
        let route = self.convention.route::<E>();
        self.route(route)
    }

    /// Sets the convention for each [`rest`](Self::rest) that follows.
    pub fn convention(mut self, convention: Rest) -> Self {
        self.convention = convention;
        self
    }

    /// Adds [`Route::get`].
    pub fn get<E: Replies>(self, path: impl Into<String>) -> Self {
        self.route(Route::get::<E>(path))
    }

    /// Adds [`Route::post`].
    pub fn post<E: Replies>(self, path: impl Into<String>) -> Self {
        self.route(Route::post::<E>(path))
    }

    /// Adds [`Route::put`].
    pub fn put<E: Replies>(self, path: impl Into<String>) -> Self {
        self.route(Route::put::<E>(path))
    }

    /// Adds [`Route::patch`].
    pub fn patch<E: Replies>(self, path: impl Into<String>) -> Self {
        self.route(Route::patch::<E>(path))
    }

    /// Adds [`Route::delete`].
    pub fn delete<E: Replies>(self, path: impl Into<String>) -> Self {
        self.route(Route::delete::<E>(path))
    }

    /// Adds [`Route::publish`].
    pub fn publish<E: Event>(self, path: impl Into<String>) -> Self {
        self.route(Route::publish::<E>(path))
    }

    /// Adds a route in its full form.
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Sets where requests are counted.
    pub fn counted_in(mut self, traffic: &Traffic) -> Self {
        self.traffic = traffic.clone();
        self
    }

    /// Lets an event in only if it is valid, by whichever of the routes it comes.
    ///
    /// What is wrong with it is told all at once: 422, with a path to each field in `errors`. The
    /// rules are those of [`garde`], which the schema of the event repeats for the API's description.
    ///
    /// ```
    /// use callboard::http::Routes;
    /// # use callboard::{Event, Replies};
    /// use garde::Validate;
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema, Validate)]
    /// struct CreateUser {
    ///     #[garde(length(chars, min = 1, max = 200))]
    ///     name: String,
    /// }
    /// # impl Event for CreateUser { const NAME: &'static str = "user.create"; }
    /// # impl Replies for CreateUser { type Reply = CreateUser; }
    ///
    /// let routes = Routes::new().rest::<CreateUser>().validate::<CreateUser>();
    /// ```
    #[cfg(feature = "validate")]
    pub fn validate<E>(mut self) -> Self
    where
        E: Event + garde::Validate<Context: Default>,
    {
        self.checks.insert(E::NAME, check_of::<E>());
        self
    }

    /// Adds all routes of another table. They keep the provider, the rate limit and the store of
    /// outcomes that they have there; without one they get the one here.
    pub fn merge(mut self, other: Self) -> Self {
        let (provider, meter, outcomes) = (other.access.provider, other.meter, other.outcomes.0);
        let kept = other.routes.into_iter().map(|mut route| {
            route.access = route.access.under(provider.as_ref());
            route.table_meter = route.table_meter.or_else(|| meter.clone());
            route.outcomes = route.outcomes.or_else(|| outcomes.clone());
            route
        });
        self.routes.extend(kept);
        self.checks.extend(other.checks);
        self
    }

    /// Sets who tells who a client is. From then on all routes of the table, added before or after,
    /// are private, but for those that are [public](Route::public).
    ///
    /// ```
    /// # use actix_web::App;
    /// # use callboard::{Bus, auth::Provider, http::{Route, Routes}, Replies};
    /// # fn example<FindItem: Replies, PlaceOrder: Replies>(bus: Bus, provider: impl Provider) {
    /// let routes = Routes::new()
    ///     .route(Route::get::<FindItem>("/items/{sku}").public())
    ///     .route(Route::post::<PlaceOrder>("/orders").permissions_all(["orders.write"]))
    ///     .auth(provider);
    /// let api = routes.install(bus);
    /// let app = App::new().configure(api);
    /// # }
    /// ```
    pub fn auth(mut self, provider: impl Provider) -> Self {
        self.access.provider = Some(Arc::new(provider));
        self
    }

    /// Limits how many requests one client may make of all routes of the table together, added before
    /// or after, beside the limits of [single routes](Route::rate_limit) and of the settings
    /// `SERVER_RATE_*`.
    ///
    /// It is asked before a body is read. A client is the identity that the provider finds, else the
    /// address of the connection, or the one that a trusted proxy names (`SERVER_TRUSTED_PROXIES`).
    /// Requests whose sender is not known, 401, count against their address, apart from those to
    /// public routes; when there were too many of them the provider is not even asked. Each
    /// response says how the client stands, in `RateLimit` and `RateLimit-Policy`
    /// (draft-ietf-httpapi-ratelimit-headers); a refusal is 429 with `Retry-After`.
    pub fn rate_limit(mut self, quota: Quota) -> Self {
        self.meter = Some(Arc::new(Meter::new("routes", quota)));
        self
    }

    /// Sets where the outcomes of [idempotent](Route::idempotent) routes are kept. Default: the store
    /// of the [`App`](crate::App::idempotency_store), else a [`MemoryIdempotency`] for each time the
    /// table is installed, with the limits of the settings `SERVER_IDEMPOTENCY_*`.
    pub fn idempotency_store(mut self, store: impl IdempotencyStore) -> Self {
        self.outcomes.0 = Some(Arc::new(store));
        self
    }

    /// The same with a provider, where the table has none of its own.
    pub(crate) fn under(mut self, provider: Option<&Arc<dyn Provider>>) -> Self {
        self.access = self.access.under(provider);
        self
    }

    /// Who may use a route of this table.
    fn access(&self, route: &Route) -> Access {
        route.access.clone().under(self.access.provider.as_ref())
    }

    /// The route with what the table adds.
    fn settled(&self, route: &Route) -> Route {
        let mut route = route.clone();
        route.access = self.access(&route);
        route.table_meter = route.table_meter.or_else(|| self.meter.clone());
        route.outcomes = route.outcomes.or_else(|| self.outcomes.0.clone());
        route
    }

    /// All that is wrong with a route, whatever other routes there are.
    fn faults_of(&self, route: &Route) -> Vec<RouteFault> {
        let mut faults = self.settled(route).faults();
        if let Some(reason) = self.access(route).fault() {
            faults.push(RouteFault::BadAccess { route: route.to_string(), reason });
        }
        faults
    }

    /// The routes, as they were added; each displays as a line such as `POST /users -> user.create`.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Describes the routes that are not hidden, as an OpenAPI 3.1 document: their parameters, bodies
    /// and responses by the schemas of their events, and all that they may refuse. A route whose path
    /// is faulty is left out.
    ///
    /// A field that a query string can fill is a parameter of GET and DELETE, and a part of the body
    /// for the other methods. [`openapi_json`](super::openapi_json) serves the document.
    pub fn openapi(&self, info: &Info) -> Value {
        let routes = self.routes.iter().map(|route| self.settled(route));
        describe(&routes.collect::<Vec<_>>(), info)
    }

    /// Tells the runtime what is requested and published here, so that `start` finds an event that
    /// nobody answers.
    pub fn declare(&self, runtime: RuntimeBuilder) -> RuntimeBuilder {
        let declare = |runtime, route: &Route| route.declare(runtime);
        self.routes.iter().fold(runtime, declare)
    }

    /// All that is wrong with the table; nothing of it depends on a runtime.
    pub fn faults(&self) -> Vec<RouteFault> {
        let mut faults: Vec<_> =
            self.routes.iter().flat_map(|route| self.faults_of(route)).collect();
        faults.extend(self.shared_ids());
        faults.extend(self.unused_checks());
        let mut known = HashMap::new();
        for route in &self.routes {
            let Ok(pattern) = Pattern::parse(&route.path) else {
                continue;
            };
            let request = (&route.method, pattern.shape());
            if let Some(first) = known.get(&request).copied() {
                faults.push(RouteFault::Duplicate {
                    first: Route::to_string(first),
                    second: route.to_string(),
                });
            } else {
                known.insert(request, route);
            }
        }
        faults
    }

    fn unused_checks(&self) -> impl Iterator<Item = RouteFault> {
        let has_route = |event| self.routes.iter().any(|route| route.event() == event);
        let mut unused: Vec<_> = self.checks.keys().filter(|event| !has_route(**event)).collect();
        unused.sort_unstable();
        unused.into_iter().map(|event| RouteFault::UnusedCheck { event })
    }

    fn shared_ids(&self) -> impl Iterator<Item = RouteFault> {
        let mut known = HashMap::new();
        self.routes.iter().filter_map(move |route| {
            let id = route.description.operation_id.as_deref()?;
            let first = known.insert(id, route)?;
            let (first, second) = (first.to_string(), route.to_string());
            Some(RouteFault::SharedId { id: id.to_owned(), first, second })
        })
    }

    /// Checks the table, for whoever starts a server with it.
    ///
    /// # Errors
    /// All faults at once.
    pub fn check(&self) -> Result<(), RoutesError> {
        let faults = self.faults();
        if faults.is_empty() { Ok(()) } else { Err(RoutesError { faults }) }
    }

    /// Connects the routes to a bus, with the built-in limits; see
    /// [`install_with`](Self::install_with).
    pub fn install(
        &self,
        bus: Bus,
    ) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<> + 'static {
        self.install_with(bus, &ServerSettings::default())
    }

    /// Connects the routes to a bus and gives what `configure` takes, of an actix-web `App` or of a
    /// scope.
    ///
    /// Only the declared paths are taken, with all their methods: GET brings HEAD along, OPTIONS
    /// answers with `Allow`, as does 405 to any other. A static path beats a parameter whatever
    /// their order. All other paths, and the application's default service, stay its own.
    ///
    /// The limit of the settings, `SERVER_RATE_*`, holds for all that is in the same application or
    /// scope and counts requests: routes, [`Operations`](super::Operations) but for health, sessions,
    /// and [`not_found`](super::not_found). Of several tables the limit of the last one holds.
    ///
    /// A table with [faults](Self::faults) is installed all the same: they are logged, and a route
    /// that has one answers 500. Call [`check`](Self::check) first to refuse it.
    pub fn install_with(
        &self,
        bus: Bus,
        settings: &ServerSettings,
    ) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<> + 'static {
        if let Err(error) = self.check() {
            tracing::error!(%error, "faulty routes were installed");
        }
        let publisher = bus.with_source(SOURCE);
        let mut mount = Mount::new(bus, settings.debug).traced().counted_in(&self.traffic);
        let in_memory: Arc<dyn IdempotencyStore> =
            Arc::new(MemoryIdempotency::new(&settings.idempotency));
        let proxies = Arc::new(settings.proxies.clone());
        let server = Quota::configured(&settings.rate).map(|quota| {
            let meter = Arc::new(Meter::new("server", quota));
            Meters::new([meter], &proxies)
        });
        for route in &self.routes {
            let Ok(pattern) = Pattern::parse(&route.path) else {
                continue;
            };
            let endpoint = if self.faults_of(route).is_empty() {
                let check = self.checks.get(route.event()).copied();
                let mut route = self.settled(route);
                route.outcomes.get_or_insert_with(|| Arc::clone(&in_memory));
                let endpoint = route.endpoint(&pattern, &publisher, settings, check);
                let meters = Meters::new(route.meters().cloned(), &proxies);
                metered(route.access.guard(), meters, endpoint)
            } else {
                Box::new(Unusable)
            };
            mount.add(route.method.clone(), &route.path, pattern, endpoint);
        }
        let mounted = mount.into_config();
        move |config: &mut ServiceConfig| {
            if let Some(server) = server {
                config.app_data(server);
            }
            config.configure(mounted);
        }
    }
}
