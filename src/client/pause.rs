//! Whether an attempt is followed by another, and when: its outcome enters, a pause leaves.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use actix_http::header::HttpDate;
use awc::http::Method;

use super::error::ClientError;
use super::options::ClientOptions;
use super::response::ClientResponse;

/// What one attempt came to.
pub(super) type Outcome = Result<ClientResponse, ClientError>;

/// The pause after the attempt of this number, from 1; `None` when it was the last.
///
/// | outcome | another attempt, of an idempotent call |
/// |---|---|
/// | no connection, or it broke | yes |
/// | no connection that is safe, such as by a bad certificate | no |
/// | 429, 502, 503, 504 | yes, not before `Retry-After` |
/// | any other status | no: it is the answer |
/// | out of time, too large, suspended | no |
pub(super) fn pause(
    options: &ClientOptions,
    method: &Method,
    attempt: u32,
    outcome: &Outcome,
    random: f64,
) -> Option<Duration> {
    if attempt >= options.attempts_max || !method.is_idempotent() {
        return None;
    }
    let asked = match outcome {
        Err(ClientError::Connect { is_lasting: false, .. } | ClientError::Broken { .. }) => {
            Duration::ZERO
        }
        Ok(answer) if matches!(answer.status, 429 | 502..=504) => {
            let header = answer.header("retry-after");
            header.and_then(|text| retry_after(text, SystemTime::now())).unwrap_or_default()
        }
        _ => return None,
    };
    if asked > options.retry_delay_max {
        return None;
    }
    let doubled = options.retry_delay.saturating_mul(1 << (attempt - 1).min(20));
    let whole = doubled.min(options.retry_delay_max);
    // Calls that failed together must not come back together.
    Some(whole.mul_f64(random.clamp(0.0, 1.0)).max(asked))
}

/// Whether the outcome says that the origin is in trouble.
pub(super) fn is_failure(outcome: &Outcome) -> bool {
    match outcome {
        Ok(answer) => answer.status >= 500 && answer.status != 501,
        Err(error) => matches!(
            error,
            ClientError::Connect { .. } | ClientError::Broken { .. } | ClientError::Timeout { .. }
        ),
    }
}

/// Seconds or a date (RFC 9110, section 10.2.3); a date that is over is no time at all.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date: SystemTime = HttpDate::from_str(text).ok()?.into();
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use awc::http::header::{HeaderName, HeaderValue, RETRY_AFTER};

    use super::*;

    fn answer(status: u16, retry_after: Option<&'static str>) -> ClientResponse {
        let header =
            |text| -> (HeaderName, HeaderValue) { (RETRY_AFTER, HeaderValue::from_static(text)) };
        let headers = retry_after.map(header).into_iter().collect();
        ClientResponse { origin: String::new(), status, headers, body: [][..].into() }
    }

    fn broken() -> Outcome {
        Err(ClientError::Broken { origin: String::new(), reason: String::new() })
    }

    #[test]
    fn pauses_double_up_to_their_limit() {
        let options = ClientOptions::default().attempts_max(100);
        let pause = |attempt, random| pause(&options, &Method::GET, attempt, &broken(), random);
        let millis = |millis| Some(Duration::from_millis(millis));
        for (attempt, random, expected) in [
            (1, 1.0, millis(100)),
            (1, 0.5, millis(50)),
            (1, 0.0, millis(0)),
            (2, 1.0, millis(200)),
            (6, 1.0, millis(3200)),
            (7, 1.0, millis(5000)),
            (99, 1.0, millis(5000)),
            (100, 1.0, None),
        ] {
            assert_eq!(pause(attempt, random), expected, "{attempt} {random}");
        }
    }

    #[test]
    fn only_idempotent_calls_and_passing_failures_are_tried_again() {
        let options = ClientOptions::default();
        let again = |method, outcome| pause(&options, &method, 1, &outcome, 1.0).is_some();
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            assert!(again(method, broken()));
        }
        for method in [Method::POST, Method::PATCH] {
            assert!(!again(method.clone(), broken()));
            assert!(!again(method, Ok(answer(503, Some("0")))));
        }
        for (status, expected) in
            [(200, false), (404, false), (429, true), (500, false), (502, true), (504, true)]
        {
            assert_eq!(again(Method::GET, Ok(answer(status, None))), expected, "{status}");
        }
        let origin = String::new;
        let connect =
            |is_lasting| ClientError::Connect { origin: origin(), reason: origin(), is_lasting };
        assert!(again(Method::GET, Err(connect(false))));
        for error in [
            connect(true),
            ClientError::Timeout { origin: origin(), timeout: Duration::ZERO },
            ClientError::BodyTooLarge { origin: origin(), body_max: 1 },
            ClientError::CircuitOpen { origin: origin(), retry_after: None },
        ] {
            assert!(!again(Method::GET, Err(error)));
        }
    }

    #[test]
    fn retry_after_is_honoured_within_its_limit() {
        let options = ClientOptions::default();
        let pause = |text| pause(&options, &Method::GET, 1, &Ok(answer(503, Some(text))), 1.0);
        assert_eq!(pause("0"), Some(Duration::from_millis(100)));
        assert_eq!(pause("5"), Some(Duration::from_secs(5)));
        assert_eq!(pause("6"), None);
        assert_eq!(pause("99999999999999999999"), None);
        assert_eq!(pause(""), Some(Duration::from_millis(100)));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_millis(100)));
        assert_eq!(pause("Tue, 06 Nov 2300 08:49:37 GMT"), None);
        assert_eq!(pause("soon"), Some(Duration::from_millis(100)));
    }

    #[test]
    fn only_trouble_of_the_origin_counts_against_it() {
        for (outcome, expected) in [
            (Ok(answer(200, None)), false),
            (Ok(answer(404, None)), false),
            (Ok(answer(429, None)), false),
            (Ok(answer(501, None)), false),
            (Ok(answer(500, None)), true),
            (Ok(answer(503, None)), true),
            (broken(), true),
            (Err(ClientError::BodyTooLarge { origin: String::new(), body_max: 1 }), false),
        ] {
            assert_eq!(is_failure(&outcome), expected, "{outcome:?}");
        }
    }
}
