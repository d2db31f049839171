//! One route in a description: the route enters, its parameters, body and responses leave.

use actix_web::http::Method;
use serde_json::map::Map;
use serde_json::{Value, json};

use super::super::description::Description;
use super::super::naming::{Naming, Nouns};
use super::super::repeatable::{KEY_MAX, KeyIs};
use super::super::route::Route;
use super::super::types::Types;
use super::anatomy::{Anatomy, Emptiness, emptiness, present, without};
use super::refusals::{Intake, Refusals};
use super::schemas::Schemas;
use super::security;

/// The facts that say "there is a new one"; their status is 201.
const CREATED: &str = ".created";

/// A route and how its place is written in the document.
pub(super) struct Place<'r> {
    pub(super) route: &'r Route,
    /// The event's fields that the path fills, in order.
    pub(super) fields: Vec<&'r str>,
    /// How the path of the document names them.
    pub(super) names: Vec<String>,
    pub(super) operation_id: String,
}

impl Place<'_> {
    pub(super) fn operation(&self, schemas: &mut Schemas, refusals: &mut Refusals) -> Value {
        let (route, Types { event, .. }) = (self.route, self.route.types());
        let schema = schemas.taken(event);
        let anatomy = Anatomy::of(schemas, &schema);
        let reads_body = [Method::POST, Method::PUT, Method::PATCH].contains(route.method());
        let body = if reads_body { self.body(schemas, &schema, &anatomy) } else { None };
        let mut parameters = self.parameters(&anatomy, !reads_body);
        let intake = Intake {
            has_fields: body.is_some() || !parameters.is_empty(),
            has_body: body.is_some(),
        };
        parameters.extend(route.key.map(idempotency_key));
        let mut responses = self.successes(schemas);
        responses.extend(refusals.of(route, intake));
        let mut operation = Map::new();
        let text = schemas.described(&schema);
        self.add_words(&mut operation, text);
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(body) = body {
            operation.insert("requestBody".to_owned(), body);
        }
        operation.insert("responses".to_owned(), responses.into());
        if let Some(requirement) = security::requirement(route) {
            operation.insert("security".to_owned(), requirement);
        }
        operation.into()
    }

    fn add_words(&self, operation: &mut Map<String, Value>, of_event: Option<String>) {
        let Description { summary, text, is_deprecated, .. } = &self.route.description;
        let summary = summary
            .clone()
            .unwrap_or_else(|| Naming::of(self.route.event()).summary(&Nouns::default()));
        operation.insert("tags".to_owned(), tags(self.route).into());
        operation.insert("summary".to_owned(), summary.into());
        operation.insert("operationId".to_owned(), self.operation_id.clone().into());
        // Tools show that a route is private, and not what it demands.
        let texts: Vec<_> =
            text.clone().or(of_event).into_iter().chain(security::words(self.route)).collect();
        if !texts.is_empty() {
            operation.insert("description".to_owned(), texts.join("\n\n").into());
        }
        if *is_deprecated {
            operation.insert("deprecated".to_owned(), true.into());
        }
    }

    fn parameters(&self, anatomy: &Anatomy, reads_query: bool) -> Vec<Value> {
        let anything = Value::from(Map::new());
        let path = self.fields.iter().zip(&self.names).map(|(field, name)| {
            let mut schema = present(anatomy.fields.get(*field).unwrap_or(&anything));
            let is_text = schema.get("type").is_some_and(|name| name == "string");
            if is_text && schema.get("enum").is_none() && schema.get("minLength").is_none() {
                schema["minLength"] = 1.into();
            }
            parameter("path", name, true, schema)
        });
        let query = anatomy.fields.iter().filter(|(name, _)| reads_query && !self.fills(name));
        let query = query.map(|(name, schema)| {
            parameter("query", name, anatomy.required.contains(name), present(schema))
        });
        path.chain(query).collect()
    }

    fn body(&self, schemas: &mut Schemas, schema: &Value, anatomy: &Anatomy) -> Option<Value> {
        let has_more = anatomy.fields.keys().any(|name| !self.fills(name));
        if !has_more && !anatomy.is_open {
            return None;
        }
        let is_required = anatomy.required.iter().any(|name| !self.fills(name));
        let schema = if anatomy.fields.keys().any(|name| self.fills(name)) {
            let rest = without(schemas, schema, &self.fields);
            let reference = schema.get("$ref").and_then(Value::as_str);
            let name = reference.and_then(|reference| reference.rsplit('/').next());
            schemas.add(&format!("{}Body", name.unwrap_or(self.route.event())), rest)
        } else {
            schema.clone()
        };
        Some(json!({
            "required": is_required,
            "content": { "application/json": { "schema": schema } },
        }))
    }

    fn fills(&self, field: &str) -> bool {
        self.fields.contains(&field)
    }

    fn successes(&self, schemas: &mut Schemas) -> Map<String, Value> {
        let status = self.route.success_status();
        let Some(reply) = self.route.types().reply else {
            let schema = json!({
                "type": "object",
                "properties": { "trace_id": { "type": "string" } },
                "required": ["trace_id"],
            });
            return success(status.unwrap_or(202), "The event is published.", &schema).collect();
        };
        let schema = schemas.given(reply.schema);
        let text = schemas.described(&schema).unwrap_or_else(|| format!("`{}`", reply.name));
        if let Some(status) = status {
            return success(status, &text, &schema).collect();
        }
        if reply.name.ends_with(CREATED) {
            return success(201, &text, &schema).collect();
        }
        let emptiness = emptiness(schemas, &schema);
        let full = success(200, &text, &schema);
        let empty = success(204, &text, &schema);
        match emptiness {
            Emptiness::Never => full.collect(),
            Emptiness::Sometimes => full.chain(empty).collect(),
            Emptiness::Always => empty.collect(),
        }
    }
}

/// Under which headings a route stands.
pub(super) fn tags(route: &Route) -> Vec<String> {
    match &route.description.tags[..] {
        [] => vec![Naming::of(route.event()).tag(&Nouns::default())],
        tags => tags.to_vec(),
    }
}

fn parameter(place: &str, name: &str, is_required: bool, mut schema: Value) -> Value {
    let text = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    let mut parameter =
        json!({ "in": place, "name": name, "required": is_required, "schema": schema });
    if let Some(text) = text {
        parameter["description"] = text;
    }
    parameter
}

fn idempotency_key(key_is: KeyIs) -> Value {
    let schema = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": KEY_MAX,
        "pattern": "^[A-Za-z0-9_.:~+/=-]+$",
        "description": "A text that the client makes up for each thing to be done, such as a UUID: \
            a request that comes again with it gets the answer of the first one.",
    });
    parameter("header", "Idempotency-Key", key_is == KeyIs::Required, schema)
}

fn success(status: u16, text: &str, schema: &Value) -> impl Iterator<Item = (String, Value)> {
    let mut response = json!({
        "description": text,
        "headers": { "x-trace-id": { "$ref": "#/components/headers/TraceId" } },
    });
    if ![204, 205].contains(&status) {
        response["content"] = json!({ "application/json": { "schema": schema } });
    }
    std::iter::once((status.to_string(), response))
}
