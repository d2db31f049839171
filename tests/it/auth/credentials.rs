//! What a header says, what a refusal says, and what neither shows.

use std::sync::Arc;
use std::thread;

use callboard::auth::{AuthError, Credentials, Provider};

use super::Guests;

fn read(values: &[&[u8]]) -> Result<String, AuthError> {
    Credentials::from_authorization(values).map(|credentials| credentials.token().to_owned())
}

#[test]
fn one_bearer_token_is_read() {
    for (value, token) in [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER  abc", "abc"),
        (" Bearer abc\t", "abc"),
        ("Bearer a.b-c_d~e+f/9==", "a.b-c_d~e+f/9=="),
    ] {
        assert_eq!(read(&[value.as_bytes()]).as_deref(), Ok(token), "{value}");
    }
}

#[test]
fn what_is_no_bearer_token_has_a_kind() {
    assert_eq!(read(&[]), Err(AuthError::Missing));
    for other in ["Basic YTpi", "Bearerabc", "Digest a=b", "abc", "Bear abc"] {
        assert_eq!(read(&[other.as_bytes()]), Err(AuthError::Scheme), "{other}");
    }
    let long = format!("Bearer {}", "a".repeat(64 * 1024));
    let malformed: [&[u8]; 9] = [
        b"",
        b" ",
        b"Bearer",
        b"Bearer ",
        b"Bearer a b",
        b"Bearer a,b",
        b"Bearer =",
        b"Bearer a=b",
        b"Bearer \xe9",
    ];
    for value in malformed.into_iter().chain([long.as_bytes()]) {
        let found = read(&[value]);
        assert!(matches!(found, Err(AuthError::Malformed { .. })), "{value:?}: {found:?}");
    }
    let twice = read(&[b"Bearer a", b"Bearer b"]);
    assert!(matches!(twice, Err(AuthError::Malformed { .. })), "{twice:?}");
}

#[test]
fn credentials_are_not_shown() {
    let credentials = Credentials::bearer("hunter2");
    assert!(!format!("{credentials:?} {credentials:#?}").contains("hunter2"));
}

#[test]
fn a_refusal_has_a_code_a_status_and_a_challenge() {
    let invalid =
        |text| Some(format!("Bearer error=\"invalid_token\", error_description=\"{text}\""));
    let plain = || Some("Bearer".to_owned());
    let signature = || invalid("the signature of the token is not valid");
    let malformed = AuthError::Malformed { reason: "too long" };
    for (error, code, challenge) in [
        (AuthError::Missing, "unauthorized", plain()),
        (AuthError::Scheme, "unauthorized", plain()),
        (malformed, "invalid_token", invalid("the credentials are malformed: too long")),
        (AuthError::Expired, "token_expired", invalid("the token has expired")),
        (AuthError::NotYetValid, "token_not_yet_valid", invalid("the token is not valid yet")),
        (AuthError::BadSignature, "invalid_token", signature()),
        (AuthError::UnknownKey, "invalid_token", signature()),
        (
            AuthError::WrongIssuer,
            "invalid_token",
            invalid("the issuer of the token is not trusted"),
        ),
        (
            AuthError::WrongAudience,
            "invalid_token",
            invalid("the token is meant for another audience"),
        ),
        (AuthError::unavailable("10.0.0.7 is away"), "auth_unavailable", None),
    ] {
        assert_eq!(error.code(), code);
        assert_eq!(error.is_unauthorized(), challenge.is_some(), "{error:?}");
        assert_eq!(error.www_authenticate(), challenge, "{error:?}");
        assert!(!error.to_string().contains("10.0.0.7"));
    }
}

#[test]
fn a_provider_is_an_object_that_any_thread_may_ask() {
    let provider: Arc<dyn Provider> = Arc::new(Guests);
    let ask = |token| {
        let provider = Arc::clone(&provider);
        let asked = thread::spawn(move || {
            let credentials = Credentials::bearer(token);
            futures_util::FutureExt::now_or_never(provider.authenticate(&credentials))
        });
        asked.join().unwrap().unwrap()
    };
    assert_eq!(ask("guest").unwrap().identity.subject, "guest");
    assert_eq!(ask("stranger").unwrap_err().code(), "auth_unavailable");
}
