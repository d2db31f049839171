//! What browsers are told on every answer: how far a page may be trusted with it, and which pages of
//! other origins may read it.

use actix_cors::Cors;
use actix_web::http::header::{
    ALLOW, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::middleware::{Condition, DefaultHeaders};

use super::lineage::CORRELATION_ID;
use super::meter::{RATE_LIMIT, RATE_LIMIT_POLICY};
use super::problem::TRACE_ID;
use super::repeatable::REPLAYED;
use crate::settings::{CorsSettings, TlsSettings};

/// Headers that make an answer harmless where it is no page. An answer that has one of them keeps
/// its own. `Strict-Transport-Security` is said over TLS only, as RFC 6797 demands.
pub(crate) fn safe_headers(tls: &TlsSettings) -> DefaultHeaders {
    let headers = DefaultHeaders::new()
        .add((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((X_FRAME_OPTIONS, "DENY"))
        .add((CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"))
        .add((REFERRER_POLICY, "no-referrer"));
    match tls.hsts_max_age.filter(|_| tls.cert_file.is_some()) {
        Some(age) => headers.add((STRICT_TRANSPORT_SECURITY, format!("max-age={}", age.as_secs()))),
        None => headers,
    }
}

/// Answers preflights, before anything asks who the client is, and marks all answers, refusals
/// included. Without origins it does nothing.
pub(crate) fn cross_origin(settings: &CorsSettings) -> Condition<Cors> {
    let exposed = [
        TRACE_ID,
        CORRELATION_ID,
        RETRY_AFTER,
        WWW_AUTHENTICATE,
        ALLOW,
        LOCATION,
        RATE_LIMIT,
        RATE_LIMIT_POLICY,
        REPLAYED,
    ];
    let cors = Cors::default()
        .allowed_methods(settings.methods.iter().map(String::as_str))
        .allowed_headers(settings.headers.iter().map(String::as_str))
        .expose_headers(exposed)
        .max_age(usize::try_from(settings.max_age.as_secs()).unwrap_or(usize::MAX));
    let cors = if settings.origins.iter().any(|origin| origin == "*") {
        cors.allow_any_origin().send_wildcard()
    } else {
        settings.origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
    };
    let cors = if settings.credentials { cors.supports_credentials() } else { cors };
    Condition::new(!settings.origins.is_empty(), cors)
}
