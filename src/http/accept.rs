//! Which form of an answer a client wants: the `Accept` headers of a request enter, one of the
//! offered media types leaves.

use actix_web::http::header::{ACCEPT, HeaderMap};

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
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let Some(offer) = offered.iter().position(|offer| matches(&media, offer)) else {
            continue;
        };
        let weight = weight(parts);
        if weight > best.1 {
            best = (offer, weight);
        }
    }
    best.0
}

fn matches(range: &str, offer: &str) -> bool {
    match range.strip_suffix('*') {
        Some("*/") => true,
        Some(kind) => kind.ends_with('/') && offer.starts_with(kind),
        None => range == offer,
    }
}

/// The weight in thousandths; what cannot be read counts as no wish.
fn weight<'p>(mut parameters: impl Iterator<Item = &'p str>) -> u16 {
    let q = parameters.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let Some(q) = q else { return 1000 };
    let (whole, decimals) = q.split_once('.').unwrap_or((q, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    match whole {
        "1" if decimals.bytes().all(|b| b == b'0') => 1000,
        "0" => format!("{decimals:0<3}").parse().unwrap_or(0),
        _ => 0,
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
}
