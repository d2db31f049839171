//! The description of an API for people and programs (OpenAPI 3.1): routes enter, a document made
//! from their events' schemas leaves.

mod schemas;
mod anatomy;
mod refusals;
mod security;
mod operation;

use std::collections::{BTreeMap, BTreeSet};

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use bytes::Bytes;
use callboard_actors::Bus;
use serde_json::map::Map;
use serde_json::{Value, json};

use super::call::Call;
use super::mount::{Answer, Endpoint, Mount};
use super::path::Pattern;
use super::private::private;
use super::route::Route;
use operation::{Place, tags};
use refusals::{Refusals, header};
use schemas::Schemas;

/// Where the description is served.
const PATH: &str = "/openapi.json";

/// What a description says of the API as a whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// What the API is called.
    pub title: String,
    /// The version of the API, not of the framework.
    pub version: String,
    /// What it is for, in `CommonMark`.
    pub description: Option<String>,
    /// Where it is served, as URLs; empty for where the description comes from.
    pub servers: Vec<String>,
}

impl Info {
    /// Names an API and its version, such as `env!("CARGO_PKG_VERSION")`.
    pub fn new(title: impl Into<String>, version: impl Into<String>) -> Self {
        let (title, version) = (title.into(), version.into());
        Self { title, version, description: None, servers: Vec::new() }
    }

    /// Says what the API is for, in `CommonMark`.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Adds a URL where it is served.
    pub fn server(mut self, url: impl Into<String>) -> Self {
        self.servers.push(url.into());
        self
    }
}

/// The title `API` and the version `0.0.0`, until somebody names them.
impl Default for Info {
    fn default() -> Self {
        Self::new("API", "0.0.0")
    }
}

/// Serves a description at `/openapi.json`, for the `configure` of an actix-web `App` or of a scope.
#[allow(clippy::missing_panics_doc)] // it does not: the path is a constant
pub fn openapi_json(
    bus: Bus,
    document: &Value,
) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<> + 'static {
    let mut mount = Mount::new(bus, false);
    let pattern = Pattern::parse(PATH).expect("the path written above is sound");
    let text = Bytes::from(document.to_string());
    mount.add(Method::GET, PATH, pattern, private(None, Box::new(Served(text))));
    mount.into_config()
}

struct Served(Bytes);

impl Endpoint for Served {
    fn answer(&self, _: Call) -> Answer<'_> {
        let text = self.0.clone();
        Box::pin(async { Ok(HttpResponse::Ok().content_type("application/json").body(text)) })
    }
}

/// Describes the routes that are not hidden.
pub(super) fn describe(routes: &[Route], info: &Info) -> Value {
    let mut schemas = Schemas::new();
    let mut refusals = Refusals::new(&mut schemas);
    let mut paths: BTreeMap<String, Value> = BTreeMap::new();
    let mut spellings = BTreeMap::new();
    let mut ids: BTreeSet<String> =
        routes.iter().filter_map(|route| route.description.operation_id.clone()).collect();
    let mut headings = Vec::new();
    for route in routes.iter().filter(|route| !route.description.is_hidden) {
        let Ok(pattern) = Pattern::parse(route.path()) else { continue };
        // To OpenAPI paths that differ in the names of parameters only are one, named once.
        let (path, names) = spellings.entry(pattern.shape()).or_insert_with(|| {
            (route.path().to_owned(), pattern.params().map(str::to_owned).collect::<Vec<_>>())
        });
        let place = Place {
            route,
            fields: pattern.params().collect(),
            names: names.clone(),
            operation_id: operation_id(route, &mut ids),
        };
        let operation = place.operation(&mut schemas, &mut refusals);
        for tag in tags(route) {
            if !headings.contains(&tag) {
                headings.push(tag);
            }
        }
        let item = paths.entry(path.clone()).or_insert_with(|| json!({}));
        item[route.method().as_str().to_ascii_lowercase()] = operation;
    }
    let mut components = json!({
        "headers": { "TraceId": header("Under which the server's log tells more.") },
        "responses": refusals.into_components(),
    });
    let proofs = security::schemes(routes);
    if !proofs.is_empty() {
        components["securitySchemes"] = proofs.into();
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": about(info),
        "tags": headings.into_iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "paths": paths,
        "components": components,
    });
    if !info.servers.is_empty() {
        let servers = info.servers.iter();
        document["servers"] = servers.map(|url| json!({ "url": url })).collect();
    }
    schemas.settle(document)
}

fn about(info: &Info) -> Value {
    let mut about = Map::new();
    about.insert("title".to_owned(), info.title.clone().into());
    about.insert("version".to_owned(), info.version.clone().into());
    if let Some(text) = &info.description {
        about.insert("description".to_owned(), text.clone().into());
    }
    about.into()
}

/// The name that the route was given, else its event's, with a number from the second route on.
fn operation_id(route: &Route, ids: &mut BTreeSet<String>) -> String {
    if let Some(id) = &route.description.operation_id {
        return id.clone();
    }
    let name = route.event().replace('.', "_");
    let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    let id = names.find(|name| !ids.contains(name)).unwrap_or(name);
    ids.insert(id.clone());
    id
}
