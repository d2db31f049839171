//! The error responses of a description: a route enters, all it may refuse leaves by status, each
//! in the one shape of all errors.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::super::problem::PROBLEM_URN;
use super::super::repeatable::KeyIs;
use super::super::route::Route;
use super::super::types::schema_of;
use super::schemas::Schemas;

/// The statuses of errors, what each is called here, a code that comes with it, and when it comes.
const STATUSES: &[(u16, &str, &str, &str)] = &[
    (400, "BadRequest", "malformed_json", "The URI or the body cannot be read."),
    (401, "Unauthorized", "unauthorized", "Nobody is known to have sent the request."),
    (403, "Forbidden", "forbidden", "The client may not do this."),
    (404, "NotFound", "not_found", "What the request names does not exist."),
    (406, "NotAcceptable", "not_acceptable", "The client takes no JSON."),
    (408, "RequestTimeout", "body_timeout", "The body did not arrive in time."),
    (409, "Conflict", "conflict", "The request does not fit to how things are now."),
    (413, "ContentTooLarge", "body_too_large", "The body is larger than the server takes."),
    (415, "UnsupportedMediaType", "unsupported_media_type", "The body is not JSON."),
    (
        422,
        "UnprocessableContent",
        "invalid",
        "A field is missing or wrong; `errors` names what the server knows.",
    ),
    (
        429,
        "TooManyRequests",
        "quota_exceeded",
        "There were too many requests of this kind, or of this client.",
    ),
    (500, "InternalServerError", "handler_error", "Something broke; the log has the trace id."),
    (501, "NotImplemented", "no_handler", "Nobody handles this request."),
    (503, "ServiceUnavailable", "full", "There is no room for the request just now."),
    (504, "GatewayTimeout", "timeout", "The answer took too long."),
];

/// What a handler says, which only a request waits for.
const OF_HANDLERS: &[u16] = &[401, 403, 404, 409, 422, 501, 504];

/// What can be wrong with a body.
const OF_BODIES: &[u16] = &[408, 413, 415];

/// What every route answers at times.
const ALWAYS: &[u16] = &[429, 500, 503];

/// A trace id, for examples.
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// A problem document (RFC 9457).
#[derive(JsonSchema)]
#[schemars(rename = "Problem")]
#[allow(dead_code)] // it is read for its schema
struct ProblemDocument {
    /// The kind of problem, as a URN.
    #[serde(rename = "type")]
    uri: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// The kind of problem, for programs.
    code: String,
    /// What went wrong, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Under which the server's log tells more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{32}$"))]
    trace_id: Option<String>,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

/// What is wrong with one field.
#[derive(JsonSchema)]
#[schemars(rename = "FieldError")]
#[allow(dead_code)] // it is read for its schema
struct FieldProblem {
    /// The path to the field, such as `items[0].quantity`; empty for the event as a whole.
    field: String,
    /// What is wrong with it.
    message: String,
}

/// What a route takes that can be wrong.
#[derive(Clone, Copy)]
pub(super) struct Intake {
    pub(super) has_fields: bool,
    pub(super) has_body: bool,
}

/// The error responses of all routes.
pub(super) struct Refusals {
    problem: Value,
    used: BTreeMap<&'static str, Value>,
}

impl Refusals {
    pub(super) fn new(schemas: &mut Schemas) -> Self {
        let problem = schemas.given(schema_of::<ProblemDocument>);
        Self { problem, used: BTreeMap::new() }
    }

    /// The error responses of a route, by status.
    pub(super) fn of(&mut self, route: &Route, intake: Intake) -> Vec<(String, Value)> {
        let mut statuses = ALWAYS.to_vec();
        if route.types().reply.is_some() {
            statuses.extend(OF_HANDLERS);
        }
        if !route.success_status().is_some_and(|status| [204, 205].contains(&status)) {
            statuses.push(406);
        }
        if intake.has_fields {
            statuses.extend([400, 422]);
        }
        if intake.has_body {
            statuses.extend(OF_BODIES);
        }
        let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for (code, status) in route.error_statuses() {
            codes.entry(*status).or_default().push(code);
        }
        if let Some(key_is) = route.key {
            codes.entry(400).or_default().push("bad_idempotency_key");
            if key_is == KeyIs::Required {
                codes.entry(400).or_default().push("idempotency_key_missing");
            }
            codes.entry(409).or_default().push("idempotency_in_progress");
            codes.entry(422).or_default().push("idempotency_key_reused");
        }
        statuses.extend(codes.keys());
        statuses.sort_unstable();
        statuses.dedup();
        let response = |status| (status_text(status), self.response(status, codes.get(&status)));
        statuses.into_iter().map(response).collect()
    }

    /// The responses that routes share, as components.
    pub(super) fn into_components(self) -> BTreeMap<&'static str, Value> {
        self.used
    }

    fn response(&mut self, status: u16, codes: Option<&Vec<&str>>) -> Value {
        let known = STATUSES.iter().find(|(known, ..)| *known == status);
        let listed = codes.map(|codes| format!("`{}`", codes.join("`, `")));
        let own = codes.and_then(|codes| codes.first().copied());
        match (known, listed) {
            (Some((_, name, code, text)), None) => {
                let whole = self.whole(status, code, text);
                self.used.entry(name).or_insert(whole);
                json!({ "$ref": format!("#/components/responses/{name}") })
            }
            (Some((_, _, code, text)), Some(listed)) => {
                self.whole(status, own.unwrap_or(code), &format!("{text} Or: {listed}."))
            }
            (None, listed) => {
                self.whole(status, own.unwrap_or_default(), &listed.unwrap_or_default())
            }
        }
    }

    fn whole(&self, status: u16, code: &str, text: &str) -> Value {
        let mut headers = json!({ "x-trace-id": { "$ref": "#/components/headers/TraceId" } });
        match status {
            401 => headers["www-authenticate"] = header("How to say who one is."),
            429 | 503 => {
                headers["retry-after"] = header("When to try again, in seconds from now.");
                if status == 429 {
                    headers["ratelimit"] = header("What is left of the limits.");
                    headers["ratelimit-policy"] = header("What the limits are.");
                }
            }
            _ => {}
        }
        json!({
            "description": text,
            "headers": headers,
            "content": {
                "application/problem+json": {
                    "schema": self.problem,
                    "example": example(status, code),
                },
            },
        })
    }
}

/// What a client may be told, as it would be written.
fn example(status: u16, code: &str) -> Value {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut problem = json!({
        "type": format!("{PROBLEM_URN}{code}"),
        "title": title.unwrap_or("Error"),
        "status": status,
        "code": code,
        "trace_id": TRACE_ID,
    });
    if code == "invalid" {
        problem["errors"] = json!([{ "field": "items[0].quantity", "message": "is missing" }]);
    }
    problem
}

pub(super) fn header(text: &str) -> Value {
    json!({ "description": text, "schema": { "type": "string" } })
}

fn status_text(status: u16) -> String {
    status.to_string()
}
