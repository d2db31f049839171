//! The settings of cross-origin requests: a reader enters, a group leaves that no browser refuses.

use std::time::Duration;

use super::reader::Reader;
use super::syntax::{flag, header_names, methods, origins_or_any, whole_seconds};

const CREDENTIALS_TO_ALL: &str = "CORS_ORIGINS is *: name the origins that may send credentials, or set CORS_CREDENTIALS to false";

/// The pages of which other origins may call the HTTP routes. By default none.
///
/// | `CORS_ORIGINS` | `CORS_CREDENTIALS` | outcome |
/// |---|---|---|
/// | not set | any | no page of another origin may read an answer |
/// | a list | false | pages of these origins may, without cookies |
/// | a list | true | pages of these origins may, with cookies and the `Authorization` of the browser |
/// | `*` | false | any page may, without cookies |
/// | `*` | true | a fault: browsers refuse it, and it would open sessions to everybody |
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CorsSettings {
    /// `CORS_ORIGINS`: the origins, such as `https://shop.example`, separated by commas and held in
    /// lower case, or `*` alone for any; none.
    pub origins: Vec<String>,
    /// `CORS_METHODS`: the methods that their pages may use, separated by commas; GET, POST, PUT,
    /// PATCH and DELETE.
    pub methods: Vec<String>,
    /// `CORS_HEADERS`: the request headers that their pages may set, separated by commas and held in
    /// lower case; authorization, content-type, idempotency-key, last-event-id, traceparent and
    /// x-correlation-id.
    pub headers: Vec<String>,
    /// `CORS_CREDENTIALS`: whether cookies and other credentials of the browser are taken; false.
    pub credentials: bool,
    /// `CORS_MAX_AGE`: how long a browser remembers what it may, in whole seconds, 0 to 86400;
    /// 86400.
    pub max_age: Duration,
}

impl CorsSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let origins = reader.get(
            "CORS_ORIGINS",
            "",
            origins_or_any(),
            "origins whose pages may call the routes, none for no other",
        );
        let methods = reader.get(
            "CORS_METHODS",
            "GET,POST,PUT,PATCH,DELETE",
            methods(),
            "methods that pages of other origins may use",
        );
        let headers = reader.get(
            "CORS_HEADERS",
            "authorization,content-type,idempotency-key,last-event-id,traceparent,x-correlation-id",
            header_names(),
            "request headers that pages of other origins may set",
        );
        let credentials = reader.read(
            "CORS_CREDENTIALS",
            "false",
            flag(),
            "whether credentials of the browser are taken from pages of other origins",
        );
        if credentials.value && origins.iter().any(|origin| origin == "*") {
            reader.misplaced(&credentials, CREDENTIALS_TO_ALL);
        }
        let max_age = reader.get(
            "CORS_MAX_AGE",
            "86400",
            whole_seconds(0..=86_400),
            "time that a browser remembers what it may, in seconds",
        );
        Self { origins, methods, headers, credentials: credentials.value, max_age }
    }
}

impl Default for CorsSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}
