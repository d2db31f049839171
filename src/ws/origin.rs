//! Whether a browser's page may connect: the headers of a handshake enter, a yes or no leaves.

use actix_web::http::header::{self, HeaderMap};

/// Whether the page that asks may connect. Programs that are no browsers send no `Origin`, and need
/// no permission: a cookie that they send is their own.
pub(super) fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN);
    let Some(origin) = origins.next() else {
        return true;
    };
    if origins.next().is_some() {
        return false;
    }
    let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else {
        return false;
    };
    if allowed.is_empty() {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        return host.is_some_and(|host| is_same_host(&origin, &host.to_ascii_lowercase()));
    }
    allowed.contains(&origin)
}

/// Compares hosts and ports. The scheme only says which port goes without saying: behind a proxy
/// that ends TLS the server does not know its own.
fn is_same_host(origin: &str, host: &str) -> bool {
    let default_port = |scheme| match scheme {
        "http" => Some(":80"),
        "https" => Some(":443"),
        _ => None,
    };
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let Some(port) = default_port(scheme) else {
        return false;
    };
    let plain = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_owned();
    !host.is_empty() && plain(authority) == plain(host)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn check(origins: &[&str], host: &str, allowed: &[&str]) -> bool {
        let request = TestRequest::default().insert_header((header::HOST, host));
        let add = |request: TestRequest, origin: &&str| {
            request.append_header((header::ORIGIN, origin.to_owned()))
        };
        let request = origins.iter().fold(request, add).to_http_request();
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        is_allowed(request.headers(), &allowed)
    }

    #[test]
    fn without_a_list_a_page_of_the_same_host_may_connect() {
        for (origin, host, expected) in [
            ("https://shop.example", "shop.example", true),
            ("https://SHOP.example", "shop.EXAMPLE", true),
            ("https://shop.example", "shop.example:443", true),
            ("http://shop.example:80", "shop.example", true),
            ("http://localhost:3000", "localhost:3000", true),
            ("http://[::1]:8000", "[::1]:8000", true),
            ("http://localhost:3000", "localhost:8000", false),
            ("http://localhost", "localhost:8000", false),
            ("https://shop.example.evil", "shop.example", false),
            ("https://evil.shop.example", "shop.example", false),
            ("https://evil.example", "shop.example", false),
            ("ftp://shop.example", "shop.example", false),
            ("null", "shop.example", false),
            ("null", "null", false),
            ("", "shop.example", false),
            ("https://", "", false),
        ] {
            assert_eq!(check(&[origin], host, &[]), expected, "{origin} at {host}");
        }
    }

    #[test]
    fn a_list_is_the_whole_truth() {
        let allowed = ["https://a.example", "http://b.example:81"];
        assert!(check(&["https://A.example"], "shop.example", &allowed));
        assert!(check(&["http://b.example:81"], "shop.example", &allowed));
        assert!(!check(&["http://a.example"], "shop.example", &allowed));
        assert!(!check(&["https://shop.example"], "shop.example", &allowed));
    }

    #[test]
    fn no_origin_is_fine_and_two_are_not() {
        assert!(check(&[], "shop.example", &[]));
        let both = ["https://shop.example", "https://shop.example"];
        assert!(!check(&both, "shop.example", &[]));
    }
}
