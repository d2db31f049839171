//! The description of the API for people: Swagger UI at `/docs/`, from files that are part of the
//! program. It reads `/openapi.json`, which stands beside it.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderMap,
    IF_NONE_MATCH, LOCATION, VARY,
};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use bytes::Bytes;
use callboard_actors::Bus;

use super::lineage::Lineage;
use super::problem::Problem;

mod archive;
use archive::Packed;

/// The page. It has no script and no style of its own, so that its policy can forbid them.
const INDEX: &str = r#"<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>API</title>
    <link rel="stylesheet" href="swagger-ui.css">
    <link rel="stylesheet" href="index.css">
    <link rel="icon" type="image/png" href="favicon-32x32.png" sizes="32x32">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="swagger-ui-bundle.js"></script>
    <script src="swagger-initializer.js"></script>
  </body>
</html>
"#;

/// What starts it. The path is relative, so that it also holds within a scope.
const INITIALIZER: &str = r##"window.onload = () => {
  window.ui = SwaggerUIBundle({
    url: "../openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    // No stranger's validator learns of this API.
    validatorUrl: null,
  });
};
"##;

/// The files of Swagger UI that the page needs, and their types.
const FILES: [(&str, &str); 4] = [
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("index.css", "text/css; charset=utf-8"),
    ("favicon-32x32.png", "image/png"),
];

/// Scripts come from here alone, and none stands in the page. Swagger UI writes styles and pictures
/// into its elements, and calls the API where `connect` says.
fn policy(servers: &[String]) -> String {
    let mut connect = "'self'".to_owned();
    for origin in servers.iter().filter_map(|server| origin(server)) {
        connect.push(' ');
        connect.push_str(origin);
    }
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; connect-src {connect}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// Scheme, host and port of a URL, if that is what it is.
fn origin(url: &str) -> Option<&str> {
    let host = ["https://", "http://"].iter().find(|scheme| url.starts_with(**scheme))?.len();
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    (end > host && url[host..end].bytes().all(is_plain)).then(|| &url[..end])
}

/// Serves Swagger UI at `/docs/`, to which `/docs` leads, for the `configure` of an actix-web `App`
/// or of a scope that has [`openapi_json`](super::openapi_json) too. It is public, as that is.
/// `servers` are the URLs in the description at which the API is tried out, beside the page's own.
pub fn docs(
    bus: Bus,
    servers: &[String],
) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<> + 'static {
    let mut files = vec![
        File::written("", "text/html; charset=utf-8", INDEX),
        File::written("swagger-initializer.js", "text/javascript; charset=utf-8", INITIALIZER),
    ];
    for (name, content_type) in FILES {
        if let Some(packed) = archive::find(name) {
            files.push(File { name, content_type, content: Content::Packed(packed) });
        } else {
            tracing::error!(name, "a file of Swagger UI is missing");
        }
    }
    let policy = policy(servers);
    let found = move |request: HttpRequest| {
        let name = request.match_info().get("file").unwrap_or_default();
        let mut response = if let Some(file) = files.iter().find(|file| file.name == name) {
            file.answer(request.headers())
        } else {
            let trace_id = Lineage::of(request.headers(), &bus).trace_id;
            let problem = Problem::new(StatusCode::NOT_FOUND, "unknown_path");
            problem.trace_id(trace_id).error_response()
        };
        if let Ok(policy) = policy.parse() {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        }
        async { response }
    };
    move |config: &mut ServiceConfig| {
        let to_page = || async {
            // Relative, because a scope does not know its own path.
            HttpResponse::PermanentRedirect().insert_header((LOCATION, "docs/")).finish()
        };
        config
            .route("/docs", web::get().to(to_page))
            .route("/docs", web::head().to(to_page))
            .route("/docs/{file:[^/]*}", web::get().to(found.clone()))
            .route("/docs/{file:[^/]*}", web::head().to(found));
    }
}

/// One file of the page.
#[derive(Clone)]
struct File {
    name: &'static str,
    content_type: &'static str,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Written(&'static str),
    Packed(Packed),
}

impl File {
    fn written(name: &'static str, content_type: &'static str, text: &'static str) -> Self {
        Self { name, content_type, content: Content::Written(text) }
    }

    fn answer(&self, headers: &HeaderMap) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        response.content_type(self.content_type).insert_header((CACHE_CONTROL, "no-cache"));
        let packed = match &self.content {
            Content::Written(text) => return response.body(*text),
            Content::Packed(packed) => packed,
        };
        let tag = format!("\"{:08x}\"", packed.crc32);
        response.insert_header((ETAG, tag.clone())).insert_header((VARY, ACCEPT_ENCODING.as_str()));
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if text(IF_NONE_MATCH).is_some_and(|known| known.contains(&tag)) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        match packed.gzip.clone().filter(|_| text(ACCEPT_ENCODING).is_some_and(takes_gzip)) {
            Some(gzip) => response.insert_header((CONTENT_ENCODING, "gzip")).body(gzip),
            None => match packed.unpacked() {
                Ok(content) => response.body(Bytes::from(content)),
                Err(error) => {
                    tracing::error!(name = self.name, %error, "a file of Swagger UI is broken");
                    HttpResponse::InternalServerError().finish()
                }
            },
        }
    }
}

fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_zero = |weight: &str| weight.parse().is_ok_and(|weight: f32| weight <= 0.0);
        is_gzip && !parts.any(|part| part.strip_prefix("q=").is_some_and(is_zero))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_gzip_where_it_says_so() {
        for (accepted, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, br", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(accepted), takes, "{accepted}");
        }
    }

    #[test]
    fn the_policy_names_the_servers_of_the_api() {
        let servers = ["https://api.example:8443/v1", "/v2", "http://a b/", "https://'none'"];
        let policy = policy(&servers.map(str::to_owned));
        assert!(policy.contains("connect-src 'self' https://api.example:8443;"), "{policy}");
    }
}
