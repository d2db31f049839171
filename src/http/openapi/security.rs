//! Who may call a route, for its description: the one place where schemes of proof and what each
//! route asks for enter the document.

use serde_json::map::Map;
use serde_json::{Value, json};

use super::super::route::Route;

/// As the description calls the token that proves who a client is.
const BEARER: &str = "bearer";

/// The ways to say who one is, by name; none where nobody is asked.
pub(super) fn schemes(routes: &[Route]) -> Map<String, Value> {
    let mut schemes = Map::new();
    if routes.iter().any(|route| requirement(route).is_some()) {
        let text = "The token alone, without the word `Bearer`.";
        let bearer = json!({ "type": "http", "scheme": "bearer", "description": text });
        schemes.insert(BEARER.to_owned(), bearer);
    }
    schemes
}

/// What a private route demands, in words; nothing where any token does.
pub(super) fn words(route: &Route) -> Option<String> {
    route.access.guard()?;
    let demanded = route.requirement().to_string();
    (!demanded.is_empty()).then(|| format!("Demands the permission {demanded}."))
}

/// What a private route asks for: a token, and all permissions that it names.
pub(super) fn requirement(route: &Route) -> Option<Value> {
    route.access.guard()?;
    let permissions: Vec<_> = route.requirement().permissions().collect();
    Some(json!([{ BEARER: permissions }]))
}
