//! Which form of an answer a client wants: the `Accept` headers of a request enter, one of the
//! offered media types leaves, or whether it may be the only one there is.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, HeaderMap};

use super::problem::Problem;

/// The index of the offered media type that is wanted most; the first where the client has no wish
/// among them. Of two that are wanted alike the one counts that is named first.
///
/// A range such as `text/*` stands for the first offer that it matches. Parameters other than the
/// weight `q` are not compared.
pub(super) fn preferred(headers: &HeaderMap, offered: &[&str]) -> usize {
    let values = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    let mut best = (0, 0);
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let Some(offer) = offered.iter().position(|offer| matches(media, offer)) else {
            continue;
        };
        let weight = weight(parts);
        if weight > best.1 {
            best = (offer, weight);
        }
    }
    best.0
}

/// Lets a request pass whose client takes the media type that is the only one there is.
///
/// Of the ranges that match it the most exact one counts, `text/*` less than `text/plain` and more
/// than `*/*`, and with it the greatest weight. Without a range that can be read a client takes
/// anything. Source: RFC 9110, section 12.5.1.
///
/// # Errors
/// 406, for a client that does not.
pub(super) fn demand(headers: &HeaderMap, media: &str) -> Result<(), Problem> {
    if takes(headers, media) {
        return Ok(());
    }
    let problem = Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable");
    Err(problem.detail(format!("the answer is {media}, which Accept excludes")))
}

fn takes(headers: &HeaderMap, media: &str) -> bool {
    let values = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    let mut has_ranges = false;
    let mut best = (0, 0);
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let Some(weight) = readable_weight(parts).filter(|_| range.contains('/')) else {
            continue;
        };
        has_ranges = true;
        if matches(range, media) {
            best = best.max((exactness(range), weight));
        }
    }
    !has_ranges || best.1 > 0
}

/// How much a range says about what it matches.
fn exactness(range: &str) -> u8 {
    match range.strip_suffix('*') {
        Some("*/") => 1,
        Some(_) => 2,
        None => 3,
    }
}

fn matches(range: &str, offer: &str) -> bool {
    let begins = |kind: &str| {
        let start = offer.get(..kind.len());
        kind.ends_with('/') && start.is_some_and(|start| start.eq_ignore_ascii_case(kind))
    };
    match range.strip_suffix('*') {
        Some("*/") => true,
        Some(kind) => begins(kind),
        None => range.eq_ignore_ascii_case(offer),
    }
}

/// The weight in thousandths; what cannot be read counts as no wish.
fn weight<'p>(parameters: impl Iterator<Item = &'p str>) -> u16 {
    readable_weight(parameters).unwrap_or(0)
}

fn readable_weight<'p>(mut parameters: impl Iterator<Item = &'p str>) -> Option<u16> {
    let q = parameters.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let Some(q) = q else { return Some(1000) };
    let (whole, decimals) = q.split_once('.').unwrap_or((q, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match whole {
        // Some clients leave the zero out, as in `.2`.
        "" if decimals.is_empty() => None,
        "1" if decimals.bytes().all(|b| b == b'0') => Some(1000),
        "" | "0" => format!("{decimals:0<3}").parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    const OFFERED: [&str; 3] = ["application/json", "application/openmetrics-text", "text/plain"];

    #[track_caller]
    fn prefers(accept: &[&'static str], expected: usize) {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        assert_eq!(preferred(&headers, &OFFERED), expected, "{accept:?}");
    }

    #[test]
    fn the_greatest_weight_wins() {
        prefers(&["text/plain;q=0.5, application/openmetrics-text; version=1.0.0;q=0.75"], 1);
        prefers(&["text/plain;version=0.0.4;q=0.5,*/*;q=0.1"], 2);
        prefers(&["text/plain;q=0.2,*/*;q=0.9"], 0);
        prefers(&["TEXT/PLAIN; Q=1.000", "application/json;q=0.999"], 2);
        prefers(&["application/json;q=0.1", "text/*;q=0.11"], 2);
        prefers(&["text/plain, application/json"], 2);
    }

    #[test]
    fn who_wants_nothing_of_it_gets_the_first() {
        prefers(&[], 0);
        prefers(&["*/*"], 0);
        prefers(&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], 0);
        prefers(&["image/png"], 0);
        prefers(&["text/plain;q=0"], 0);
        prefers(&["text/plain;q=2", "text/plain;q=x", "text/plain;q=0.1234", "*"], 0);
        prefers(&["application/*"], 0);
    }

    #[track_caller]
    fn admits(accept: &[&'static str], expected: bool) {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        let refused = demand(&headers, "application/json").err();
        assert_eq!(refused.is_none(), expected, "{accept:?}");
        assert!(refused.is_none_or(|problem| problem.code() == "not_acceptable"));
    }

    #[test]
    fn a_client_takes_what_none_of_its_ranges_excludes() {
        admits(&[], true);
        admits(&["*/*"], true);
        admits(&["application/*"], true);
        admits(&["Application/JSON"], true);
        admits(&["application/json; charset=utf-8"], true);
        admits(&["text/html, */*;q=0.001"], true);
        admits(&["text/html", "application/json"], true);
        admits(&["*/*;q=0, application/*"], true);
        admits(&["text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"], true);
        admits(&["application/json;version=1;q=0, application/json"], true);
    }

    #[test]
    fn a_client_does_not_take_what_it_does_not_name() {
        admits(&["text/html"], false);
        admits(&["application/xml, text/*"], false);
        admits(&["application/problem+json"], false);
        admits(&["*/*;q=0"], false);
        admits(&["*/*, application/json;q=0"], false);
        admits(&["application/*; q=0.000, */*;q=0.9"], false);
    }

    #[test]
    fn what_cannot_be_read_excludes_nothing() {
        admits(&[""], true);
        admits(&[", ,"], true);
        admits(&["json"], true);
        admits(&["text/html;q=x"], true);
        admits(&["application/json;q=2, */*"], true);
        admits(&["application/json;q=2, text/html"], false);
    }
}
