//! Endpoints in an actix-web application: requests that the application gets enter, those for a
//! known path are answered, and all others pass by untouched.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::dev::{
    AppService, HttpServiceFactory, ResourceDef, ResourceMap, ServiceRequest, ServiceResponse,
    fn_service,
};
use actix_web::guard::fn_guard;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::ServiceConfig;
use actix_web::{HttpResponse, ResponseError};
use callboard_actors::Bus;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;
use tracing::Instrument;

use super::call::Call;
use super::lineage::{CORRELATION_ID, Lineage, correlation_id};
use super::meter::{count, tell};
use super::path::{Pattern, Tree, decoded};
use super::percent::BadEncoding;
use super::problem::{Problem, TRACE_ID};
use super::serving::Serving;
use super::traffic::{Series, Traffic};

/// What answers the requests of one method and path.
pub(super) trait Endpoint: Send + Sync {
    /// Answers one request.
    fn answer(&self, call: Call) -> Answer<'_>;
}

pub(super) type Answer<'a> = LocalBoxFuture<'a, Result<HttpResponse, Problem>>;

/// Endpoints by path and method, shared by the threads of a server.
pub(super) struct Mount {
    bus: Bus,
    /// Whether internal texts are shown.
    debug: bool,
    /// Whether requests have spans.
    is_traced: bool,
    traffic: Traffic,
    tree: Tree,
    places: Vec<Place>,
}

/// The endpoints of one path.
struct Place {
    pattern: Pattern,
    /// As first declared; other names of the same parameters are another spelling of it.
    path: String,
    endpoints: Vec<(Method, Box<dyn Endpoint>, Arc<Series>)>,
    /// For the methods that have no endpoint.
    other_methods: Arc<Series>,
    allow: HeaderValue,
}

impl Mount {
    pub(super) fn new(bus: Bus, debug: bool) -> Self {
        let (traffic, tree) = (Traffic::default(), Tree::default());
        Self { bus, debug, is_traced: false, traffic, tree, places: Vec::new() }
    }

    /// Sets where requests are counted, before anything is added.
    pub(super) fn counted_in(self, traffic: &Traffic) -> Self {
        Self { traffic: traffic.clone(), ..self }
    }

    /// Has requests recorded, as is of no use for those of probes.
    pub(super) fn traced(self) -> Self {
        Self { is_traced: true, ..self }
    }

    /// Adds an endpoint. A second one of the same method and path makes both unusable.
    pub(super) fn add(
        &mut self,
        method: Method,
        path: &str,
        pattern: Pattern,
        endpoint: Box<dyn Endpoint>,
    ) {
        let place = self.tree.add(&pattern, self.places.len());
        if place == self.places.len() {
            self.places.push(Place {
                pattern,
                path: path.to_owned(),
                endpoints: Vec::new(),
                other_methods: self.traffic.other_methods(path),
                allow: HeaderValue::from_static(""),
            });
        }
        let series = self.traffic.series(method.as_str(), &self.places[place].path);
        self.places[place].add(method, endpoint, series);
    }

    /// Adds everything to an actix-web application, or to a scope of one.
    pub(super) fn into_config(self) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
        let mount = Arc::new(self);
        move |config: &mut ServiceConfig| {
            config.service(Mounted(mount));
        }
    }

    async fn serve(
        &self,
        place: &Place,
        params: Result<Vec<String>, BadEncoding>,
        request: ServiceRequest,
    ) -> ServiceResponse {
        let begun = Instant::now();
        let (request, payload) = request.into_parts();
        let lineage = Lineage::of(request.headers(), &self.bus);
        let trace_id = lineage.trace_id;
        let serving = (self.is_traced)
            .then(|| Serving::begin(&self.bus, &lineage, &request, Some(&place.path)))
            .flatten();
        let endpoint = place.endpoint(request.method());
        let answer = match (endpoint, params) {
            (None, _) if request.method() == Method::OPTIONS => {
                Ok(HttpResponse::NoContent().finish())
            }
            (None, _) => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                count(&request).and(Err(Problem::new(status, "method_not_allowed")))
            }
            (Some(_), Err(BadEncoding)) => count(&request).and(Err(Problem::bad_encoding())),
            (Some(endpoint), Ok(params)) => {
                let request = request.clone();
                let lineage = serving.as_ref().map_or(lineage, |serving| serving.lineage(&lineage));
                let call = Call::new(request, payload, params, lineage);
                match &serving {
                    None => endpoint.answer(call).await,
                    Some(serving) => endpoint.answer(call).instrument(serving.span()).await,
                }
            }
        };
        let mut response =
            answer.unwrap_or_else(|problem| self.refusal(problem.trace_id(trace_id), place));
        let headers = response.headers_mut();
        tell(&request, headers);
        if endpoint.is_none() {
            headers.insert(ALLOW, place.allow.clone());
        }
        if let Ok(trace_id) = HeaderValue::from_str(trace_id.encode(&mut [0; 32])) {
            let known_as = correlation_id(request.headers()).unwrap_or(&trace_id);
            headers.insert(CORRELATION_ID, known_as.clone());
            headers.insert(TRACE_ID, trace_id);
        }
        place.series(request.method()).record(response.status(), begun.elapsed());
        if let Some(serving) = serving {
            serving.end(response.status());
        }
        ServiceResponse::new(request, response)
    }

    /// Logs what is hidden from the client, and tells the rest.
    fn refusal(&self, problem: Problem, place: &Place) -> HttpResponse {
        let status = problem.status_code();
        // Refusals for want of room are counted; a line for each would make matters worse.
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            let (path, reason) = (&place.path, problem.internal_text().unwrap_or_default());
            tracing::warn!(path, %problem, reason, "a request failed");
        }
        if self.debug { problem.exposed().error_response() } else { problem.error_response() }
    }
}

impl Place {
    fn add(&mut self, method: Method, endpoint: Box<dyn Endpoint>, series: Arc<Series>) {
        match self.endpoints.iter_mut().find(|(known, ..)| *known == method) {
            Some((_, known, _)) => *known = Box::new(Unusable),
            None => self.endpoints.push((method, endpoint, series)),
        }
        let mut allow = Vec::new();
        for (method, ..) in &self.endpoints {
            allow.push(method.as_str());
            if method == Method::GET {
                allow.push(Method::HEAD.as_str());
            }
        }
        allow.push(Method::OPTIONS.as_str());
        if let Ok(value) = HeaderValue::try_from(allow.join(", ")) {
            self.allow = value;
        }
    }

    /// The endpoint of a method; HEAD follows GET, and the server leaves its body out.
    fn endpoint(&self, method: &Method) -> Option<&dyn Endpoint> {
        self.find(method).map(|(endpoint, _)| endpoint)
    }

    /// Where requests of a method are counted, HEAD as GET.
    fn series(&self, method: &Method) -> &Series {
        self.find(method).map_or(&*self.other_methods, |(_, series)| series)
    }

    fn find(&self, method: &Method) -> Option<(&dyn Endpoint, &Series)> {
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let mut endpoints = self.endpoints.iter();
        let (_, endpoint, series) = endpoints.find(|(known, ..)| known == method)?;
        Some((&**endpoint, series))
    }
}

/// Stands where a route is faulty.
pub(super) struct Unusable;

impl Endpoint for Unusable {
    fn answer(&self, _: Call) -> Answer<'_> {
        let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "bad_route")
            .internal("the route has a fault, which the log named when it was installed");
        Box::pin(async { Err(problem) })
    }
}

/// The endpoints as actix-web takes them.
struct Mounted(Arc<Mount>);

impl HttpServiceFactory for Mounted {
    fn register(self, app: &mut AppService) {
        if app.is_root() {
            register_tree(self.0, app);
        } else {
            register_each(&self.0, app);
        }
    }
}

/// One service for all paths. Its guard asks the tree, so that other paths pass by, and no regular
/// expression is run for any request; what it finds it lays down for the service, which actix-web
/// calls next on this thread. Each thread counts its own requests' hold on the mount: a count
/// that all threads share would go to and fro between them.
fn register_tree(mount: Arc<Mount>, app: &mut AppService) {
    let any_path = ResourceDef::root_prefix("");
    // For whoever asks a request for its pattern, such as a tracing middleware.
    let mut patterns = ResourceMap::new(any_path.clone());
    for place in mount.tree.places() {
        patterns.add(&mut ResourceDef::new(&*mount.places[place].path), None);
    }
    let found = Rc::new(Cell::new(None));
    let guard = {
        let (mount, found) = (Arc::clone(&mount), Rc::clone(&found));
        fn_guard(move |context| {
            let place = mount.tree.find(context.head().uri.path());
            let is_known = place.is_some();
            found.set(place.map(|(place, captures)| (place, decoded(captures))));
            is_known
        })
    };
    let mount = Rc::new(mount);
    let service = fn_service(move |request: ServiceRequest| {
        let (mount, found) = (Rc::clone(&mount), found.take());
        async move {
            let (place, params) = found.expect("the guard has found the path in the tree");
            Ok(mount.serve(&mount.places[place], params, request).await)
        }
    });
    app.register_service(any_path, Some(vec![Box::new(guard)]), service, Some(patterns.into()));
}

/// One service for each path, which actix-web finds. Only it knows how much of a path a scope has
/// used up.
fn register_each(mount: &Arc<Mount>, app: &mut AppService) {
    for place in mount.tree.places() {
        let path = &*mount.places[place].path;
        let mount = Rc::new(Arc::clone(mount));
        let service = fn_service(move |request: ServiceRequest| {
            let mount = Rc::clone(&mount);
            async move {
                let place = &mount.places[place];
                let params = decoded(place.pattern.captures(request.head().uri.path()));
                Ok(mount.serve(place, params, request).await)
            }
        });
        app.register_service(ResourceDef::new(path), None, service, None);
    }
}
