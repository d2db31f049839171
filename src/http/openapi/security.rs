//! Who may call a route, for its description: the one place where schemes of proof and what each
//! route asks for enter the document.

use serde_json::Value;
use serde_json::map::Map;

use super::super::route::Route;

/// The ways to say who one is, by name.
pub(super) fn schemes() -> Map<String, Value> {
    Map::new()
}

/// What a route asks for; none where the description says nothing of it.
pub(super) fn requirement(_route: &Route) -> Option<Value> {
    None
}
