//! Which tokens are believed, and whom they make known. parity: W22

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callboard::auth::{AuthError, Credentials, JwtError, JwtIssuer, JwtKey, JwtProvider, Provider};
use callboard::secs;
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::keys::{
    ED25519_PRIVATE, ED25519_PUBLIC, P256_PRIVATE, P256_PUBLIC, RSA_PRIVATE, RSA_PUBLIC, SECRET,
};

const OTHER_SECRET: &str = "another secret of the tests, long enough";

fn provider() -> JwtProvider {
    JwtProvider::new([JwtKey::hs256(SECRET).unwrap()]).unwrap()
}

fn issuer() -> JwtIssuer {
    JwtIssuer::hs256(SECRET).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The key of the tests signs whatever it is given.
fn signed(claims: &Value) -> String {
    signed_with(&Header::new(Algorithm::HS256), claims)
}

fn signed_with(header: &Header, claims: &Value) -> String {
    encode(header, claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// Of RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letters = bytes.chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |i| LETTERS[(bits >> (18 - 6 * i) & 63) as usize] as char)
    });
    letters.collect()
}

fn malformed(reason: &'static str) -> AuthError {
    AuthError::Malformed { reason }
}

#[test]
fn a_token_makes_an_identity() {
    let token = issuer().token("ada").permissions(["orders.read", "orders.write"]).sign().unwrap();
    let credentials = Credentials::bearer(token);
    let answer = provider().authenticate(&credentials).now_or_never();
    let known = answer.unwrap().unwrap();
    assert_eq!(known.identity.subject, "ada");
    assert_eq!(known.identity.permissions, ["orders.read", "orders.write"]);
}

#[test]
fn permissions_come_from_two_claims() {
    for (claims, permissions) in [
        (json!({}), &[][..]),
        (json!({"permissions": null, "scope": null}), &[]),
        (json!({"scope": "b a"}), &["b", "a"]),
        (json!({"scope": " a  a "}), &["a"]),
        (json!({"permissions": ["a", "c", ""], "scope": "a b"}), &["a", "c", "b"]),
    ] {
        let mut claims = claims;
        claims["sub"] = json!("ada");
        claims["exp"] = json!(now() + 60);
        let identity = provider().verify(&signed(&claims)).unwrap();
        assert_eq!(identity.permissions, permissions, "{claims}");
    }
}

#[test]
fn claims_have_their_form() {
    let exp = now() + 60;
    let form = malformed("the claims of the token do not have their form");
    for (claims, refusal) in [
        (json!({"sub": "ada"}), malformed("the token has no `exp`")),
        (json!({"sub": "ada", "exp": null}), malformed("the token has no `exp`")),
        (json!({"sub": "ada", "exp": "soon"}), malformed("the token has no `exp`")),
        (
            json!({"sub": "ada", "exp": exp, "nbf": "soon"}),
            malformed("`exp` or `nbf` is not a time"),
        ),
        (json!({"sub": "ada", "exp": -1}), malformed("the token has no `exp`")),
        (json!({"exp": exp}), malformed("the token has no `sub`")),
        (json!({"sub": "", "exp": exp}), malformed("the token has no `sub`")),
        (json!({"sub": 7, "exp": exp}), form.clone()),
        (json!({"sub": "ada", "exp": exp, "permissions": "all"}), form.clone()),
        (json!({"sub": "ada", "exp": exp, "scope": ["all"]}), form.clone()),
        (json!(["sub", "ada"]), form.clone()),
        (json!("ada"), form),
    ] {
        assert_eq!(provider().verify(&signed(&claims)), Err(refusal), "{claims}");
    }
}

#[test]
fn times_count_with_a_leeway() {
    let at = |from_now: i64| now().checked_add_signed(from_now).unwrap();
    let strict = provider().leeway(Duration::ZERO);
    let wide = provider().leeway(secs(10_000));
    let usual = provider();
    let (expired, early) = (Err(AuthError::Expired), Err(AuthError::NotYetValid));
    for (provider, exp, nbf, outcome) in [
        (&usual, 60, None, Ok(())),
        (&usual, -20, None, Ok(())),
        (&usual, -40, None, expired.clone()),
        (&strict, -5, None, expired.clone()),
        (&usual, 60, Some(20), Ok(())),
        (&usual, 60, Some(40), early.clone()),
        (&strict, 60, Some(5), early.clone()),
        (&strict, 60, Some(-5), Ok(())),
        // No leeway is longer than five minutes.
        (&wide, -290, None, Ok(())),
        (&wide, -310, None, expired.clone()),
        (&wide, 600, Some(310), early),
    ] {
        let mut claims = json!({"sub": "ada", "exp": at(exp)});
        if let Some(nbf) = nbf {
            claims["nbf"] = json!(at(nbf));
        }
        let found = provider.verify(&signed(&claims)).map(drop);
        assert_eq!(found, outcome, "{claims} {provider:?}");
    }
    let last = json!({"sub": "ada", "exp": u64::MAX});
    assert!(usual.verify(&signed(&last)).is_ok());
    assert_eq!(usual.verify(&signed(&json!({"sub": "ada", "exp": 0}))), Err(AuthError::Expired));
}

#[test]
fn an_issuer_dates_its_tokens() {
    let hour_ago = SystemTime::now() - secs(3600);
    let in_an_hour = SystemTime::now() + secs(3600);
    let issuer = issuer().ttl(secs(600));
    let verify = |token: Result<String, _>| provider().verify(&token.unwrap()).map(drop);
    assert_eq!(verify(issuer.token("ada").sign()), Ok(()));
    assert_eq!(verify(issuer.token("ada").issued_at(hour_ago).sign()), Err(AuthError::Expired));
    let long = issuer.token("ada").issued_at(hour_ago).ttl(secs(7200));
    assert_eq!(verify(long.sign()), Ok(()));
    let early = issuer.token("ada").not_before(in_an_hour).ttl(secs(7200));
    assert_eq!(verify(early.sign()), Err(AuthError::NotYetValid));
    assert_eq!(verify(issuer.token("ada").ttl(Duration::MAX).sign()), Ok(()));
}

#[test]
fn issuer_and_audience_must_fit() {
    let exp = now() + 60;
    let open = provider();
    let strict = provider().issuer("https://id.example").issuer("https://old.example");
    let strict = strict.audience("shop").audience("stock");
    let (wrong_issuer, wrong_audience) = (AuthError::WrongIssuer, AuthError::WrongAudience);
    for (provider, iss, aud, outcome) in [
        (&open, json!(null), json!(null), Ok(())),
        (&open, json!("anybody"), json!(null), Ok(())),
        (&open, json!(null), json!("shop"), Err(wrong_audience.clone())),
        (&open, json!(null), json!(["shop"]), Err(wrong_audience.clone())),
        (&strict, json!("https://id.example"), json!("shop"), Ok(())),
        (&strict, json!("https://old.example"), json!(["mail", "stock"]), Ok(())),
        (&strict, json!("https://evil.example"), json!("shop"), Err(wrong_issuer.clone())),
        (&strict, json!("https://id.example/"), json!("shop"), Err(wrong_issuer.clone())),
        (&strict, json!(null), json!("shop"), Err(wrong_issuer.clone())),
        (&strict, json!(7), json!("shop"), Err(wrong_issuer)),
        (&strict, json!("https://id.example"), json!("mail"), Err(wrong_audience.clone())),
        (&strict, json!("https://id.example"), json!([]), Err(wrong_audience.clone())),
        (&strict, json!("https://id.example"), json!(null), Err(wrong_audience)),
    ] {
        let mut claims = json!({"sub": "ada", "exp": exp});
        for (name, value) in [("iss", iss), ("aud", aud)] {
            if !value.is_null() {
                claims[name] = value;
            }
        }
        assert_eq!(provider.verify(&signed(&claims)).map(drop), outcome, "{claims}");
    }
}

#[test]
fn each_algorithm_verifies_what_its_key_signed() {
    let claims = json!({"sub": "ada", "exp": now() + 60});
    let rsa = EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).unwrap();
    let tokens = [
        (JwtKey::hs256(SECRET).unwrap(), signed(&claims)),
        (
            JwtKey::rs256(RSA_PUBLIC).unwrap(),
            encode(&Header::new(Algorithm::RS256), &claims, &rsa).unwrap(),
        ),
        (
            JwtKey::es256(P256_PUBLIC).unwrap(),
            JwtIssuer::es256(P256_PRIVATE).unwrap().token("ada").sign().unwrap(),
        ),
        (
            JwtKey::eddsa(ED25519_PUBLIC).unwrap(),
            JwtIssuer::eddsa(ED25519_PRIVATE).unwrap().token("ada").sign().unwrap(),
        ),
    ];
    for (i, (key, _)) in tokens.iter().enumerate() {
        let provider = JwtProvider::new([key.clone()]).unwrap();
        for (j, (_, token)) in tokens.iter().enumerate() {
            let found = provider.verify(token).map(|identity| identity.subject);
            let expected = if i == j { Ok("ada".to_owned()) } else { Err(AuthError::BadSignature) };
            assert_eq!(found, expected, "{key:?}, token {j}");
        }
    }
    // Keys of several algorithms stand side by side, and each takes its own.
    let all = JwtProvider::new(tokens.iter().map(|(key, _)| key.clone())).unwrap();
    assert!(tokens.iter().all(|(_, token)| all.verify(token).is_ok()));
}

#[test]
fn a_public_key_is_no_secret() {
    let provider = JwtProvider::new([JwtKey::rs256(RSA_PUBLIC).unwrap()]).unwrap();
    let claims = json!({"sub": "admin", "exp": now() + 60});
    // The attacker signs with what everybody knows, and says that it is a secret.
    for known in [RSA_PUBLIC, RSA_PUBLIC.trim_end()] {
        let key = EncodingKey::from_secret(known.as_bytes());
        let forged = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        assert_eq!(provider.verify(&forged), Err(AuthError::BadSignature));
    }
}

#[test]
fn another_hash_of_the_same_secret_is_refused() {
    let claims = json!({"sub": "ada", "exp": now() + 60});
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = signed_with(&Header::new(algorithm), &claims);
        assert_eq!(provider().verify(&token), Err(AuthError::BadSignature));
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let claims = base64url(json!({"sub": "admin", "exp": now() + 60}).to_string().as_bytes());
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None","typ":"JWT"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"typ":"JWT"}"#,
        "{}",
        "",
    ] {
        let header = base64url(header.as_bytes());
        for token in [format!("{header}.{claims}."), format!("{header}.{claims}")] {
            let found = provider().verify(&token);
            assert_eq!(found, Err(malformed("this is not a signed token")), "{token}");
        }
    }
    let unsigned = format!("{}.{claims}.", base64url(br#"{"alg":"HS256"}"#));
    assert_eq!(provider().verify(&unsigned), Err(AuthError::BadSignature));
}

#[test]
fn a_changed_token_is_refused() {
    let token = issuer().token("ada").sign().unwrap();
    let forged = base64url(json!({"sub": "admin", "exp": now() + 60}).to_string().as_bytes());
    let parts: Vec<&str> = token.split('.').collect();
    let swapped = format!("{}.{forged}.{}", parts[0], parts[2]);
    assert_eq!(provider().verify(&swapped), Err(AuthError::BadSignature));
    let other = JwtIssuer::hs256(OTHER_SECRET).unwrap().token("ada").sign().unwrap();
    assert_eq!(provider().verify(&other), Err(AuthError::BadSignature));
}

#[test]
fn a_critical_header_is_refused() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".to_owned()]);
    let token = signed_with(&header, &json!({"sub": "ada", "exp": now() + 60}));
    let refusal = malformed("the header has a critical part that is not understood");
    assert_eq!(provider().verify(&token), Err(refusal));
}

#[test]
fn a_long_token_is_refused_unread() {
    let token = issuer().token("ada").claim("note", "x".repeat(9000)).sign().unwrap();
    assert_eq!(provider().verify(&token), Err(malformed("the token is too long")));
    assert!(provider().token_max(20_000).verify(&token).is_ok());
    let huge = "a.".repeat(10 << 20);
    assert_eq!(provider().verify(&huge), Err(malformed("the token is too long")));
}

#[test]
fn a_key_id_picks_the_key() {
    let key = |secret| JwtKey::hs256(secret).unwrap();
    let token = |secret, id: Option<&str>| {
        let issuer = JwtIssuer::hs256(secret).unwrap();
        let issuer = id.into_iter().fold(issuer, JwtIssuer::key_id);
        issuer.token("ada").sign().unwrap()
    };
    let single = JwtProvider::new([key(SECRET).id("new")]).unwrap();
    let nameless = JwtProvider::new([key(SECRET)]).unwrap();
    let rotating = [key(SECRET).id("new"), key(OTHER_SECRET).id("old")];
    let rotating = JwtProvider::new(rotating).unwrap();
    let mixed = JwtProvider::new([key(SECRET).id("new"), key(OTHER_SECRET)]).unwrap();
    let (bad, unknown) = (Err(AuthError::BadSignature), Err(AuthError::UnknownKey));
    for (provider, secret, id, outcome) in [
        (&single, SECRET, Some("new"), Ok(())),
        (&single, SECRET, None, Ok(())),
        (&single, SECRET, Some("old"), unknown.clone()),
        (&nameless, SECRET, Some("new"), unknown.clone()),
        (&rotating, SECRET, Some("new"), Ok(())),
        (&rotating, OTHER_SECRET, Some("old"), Ok(())),
        (&rotating, OTHER_SECRET, Some("new"), bad.clone()),
        (&rotating, SECRET, Some("NEW"), unknown.clone()),
        (&rotating, SECRET, Some(""), unknown.clone()),
        (&rotating, SECRET, None, unknown),
        (&mixed, OTHER_SECRET, None, Ok(())),
        (&mixed, SECRET, None, bad),
    ] {
        let found = provider.verify(&token(secret, id)).map(drop);
        assert_eq!(found, outcome, "{provider:?} {id:?}");
    }
}

#[test]
fn a_token_is_made_only_from_what_it_can_say() {
    let fails = |token: Result<String, JwtError>| token.unwrap_err().to_string();
    let registered = "the token cannot be signed: a registered claim has a method of its own";
    for name in ["sub", "exp", "nbf", "iat", "iss", "aud", "permissions"] {
        assert_eq!(fails(issuer().token("ada").claim(name, 1).sign()), registered);
    }
    assert_eq!(
        fails(issuer().token("").sign()),
        "the token cannot be signed: the subject is empty"
    );
    let tuples = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert_eq!(
        fails(issuer().token("ada").claim("map", tuples).sign()),
        "the token cannot be signed: the value of a claim is no JSON"
    );
}

proptest! {
    #[test]
    fn garbage_never_panics(text in ".{0,200}") {
        prop_assert!(provider().verify(&text).is_err());
    }

    #[test]
    fn garbage_in_parts_never_panics(
        header in prop::collection::vec(any::<u8>(), 0..80),
        claims in "\\{.{0,60}\\}",
        signature in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let sound = base64url(br#"{"alg":"HS256"}"#);
        for header in [base64url(&header), sound] {
            let parts = [header, base64url(claims.as_bytes()), base64url(&signature)];
            prop_assert!(provider().verify(&parts.join(".")).is_err());
        }
    }

    /// Whatever is signed is read or refused.
    #[test]
    fn signed_garbage_never_panics(
        name in "sub|exp|nbf|aud|iss|scope|permissions",
        number in any::<f64>(),
        text in ".{0,20}",
        kind in 0..5,
    ) {
        let value = match kind {
            0 => json!(number),
            1 => json!(text),
            2 => json!([text, number]),
            3 => json!({text: number}),
            _ => Value::Null,
        };
        let mut claims = json!({"sub": "ada", "exp": now() + 60});
        claims[&name] = value;
        let provider = provider().issuer("a").audience("b");
        prop_assert!(provider.verify(&signed(&claims)).is_err());
    }

    /// A token of which one letter was changed is refused, but for the last one of each part,
    /// whose spare bits a decoder refuses by itself.
    #[test]
    fn no_changed_letter_is_overlooked(at in any::<prop::sample::Index>(), by in 1_u8..64) {
        let token = issuer().token("ada").sign().unwrap();
        let mut bytes = token.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = (bytes[at] ^ by) & 0x7f;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != token);
        prop_assert!(provider().verify(&changed).is_err(), "{changed}");
    }
}
