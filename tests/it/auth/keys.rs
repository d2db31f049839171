//! Which keys are taken, where they come from, and what a refusal says and hides.

use callboard::auth::{JwtError, JwtIssuer, JwtKey, JwtProvider};
use callboard::settings::Settings;

pub(super) const RSA_PRIVATE: &str = include_str!("../../keys/rsa_private.pem");
pub(super) const RSA_PUBLIC: &str = include_str!("../../keys/rsa_public.pem");
pub(super) const P256_PRIVATE: &str = include_str!("../../keys/p256_private.pem");
pub(super) const P256_PUBLIC: &str = include_str!("../../keys/p256_public.pem");
pub(super) const ED25519_PRIVATE: &str = include_str!("../../keys/ed25519_private.pem");
pub(super) const ED25519_PUBLIC: &str = include_str!("../../keys/ed25519_public.pem");

pub(super) const SECRET: &str = "a secret of the tests, long enough";

const RSA_1024: &str = include_str!("../../keys/rsa_1024_public.pem");
const P384: &str = include_str!("../../keys/p384_public.pem");

fn text<T>(result: Result<T, JwtError>) -> String {
    result.err().map_or("no error".to_owned(), |error| error.to_string())
}

#[test]
fn a_secret_is_long_and_secret() {
    for secret in ["", "secret", &SECRET[..31]] {
        let refusal = format!(
            "a secret of HS256 has at least 32 bytes, this one has {}: \
             take the output of `openssl rand -base64 48`",
            secret.len()
        );
        assert_eq!(text(JwtKey::hs256(secret)), refusal);
        assert_eq!(text(JwtIssuer::hs256(secret)), refusal);
    }
    assert!(JwtKey::hs256(&SECRET[..32]).is_ok());
    assert!(JwtKey::hs256([0xff; 32]).is_ok());
    for pem in [RSA_PUBLIC, P256_PUBLIC, &format!("\n {ED25519_PUBLIC}")] {
        assert!(matches!(JwtKey::hs256(pem), Err(JwtError::PemAsSecret)));
        assert!(matches!(JwtIssuer::hs256(pem), Err(JwtError::PemAsSecret)));
    }
}

#[test]
fn a_public_key_is_for_its_own_algorithm() {
    assert!(JwtKey::rs256(RSA_PUBLIC).is_ok());
    assert!(JwtKey::es256(P256_PUBLIC).is_ok());
    assert!(JwtKey::eddsa(ED25519_PUBLIC).is_ok());
    for (found, start) in [
        (text(JwtKey::rs256(P256_PUBLIC)), "this is not a key for RS256: "),
        (text(JwtKey::rs256(RSA_1024)), "this is not a key for RS256: the key has fewer than 2048"),
        (text(JwtKey::rs256(RSA_PRIVATE)), "this is not a key for RS256: expected a PEM text"),
        (text(JwtKey::es256(ED25519_PUBLIC)), "this is not a key for ES256: "),
        (text(JwtKey::es256(P384)), "this is not a key for ES256: the key is not valid, or of"),
        (text(JwtKey::es256(P256_PRIVATE)), "this is not a key for ES256: expected a PEM text"),
        (text(JwtKey::eddsa(RSA_PUBLIC)), "this is not a key for EdDSA: "),
        (text(JwtKey::eddsa("")), "this is not a key for EdDSA: expected a PEM text"),
        (text(JwtIssuer::eddsa(ED25519_PUBLIC)), "this is not a key for EdDSA: expected a PEM"),
        (text(JwtIssuer::eddsa(P256_PRIVATE)), "this is not a key for EdDSA: "),
        (text(JwtIssuer::es256(ED25519_PRIVATE)), "this is not a key for ES256: "),
        (text(JwtIssuer::es256(RSA_PRIVATE)), "this is not a key for ES256: "),
    ] {
        assert!(found.starts_with(start), "{found:?} is not {start:?}");
    }
}

#[test]
fn a_damaged_key_is_refused_and_never_panics() {
    for (pem, key) in [
        (RSA_PUBLIC, JwtKey::rs256 as fn(String) -> Result<JwtKey, JwtError>),
        (P256_PUBLIC, JwtKey::es256),
        (ED25519_PUBLIC, JwtKey::eddsa),
    ] {
        let body = pem.find('\n').unwrap() + 1;
        let end = pem.find("\n-----END").unwrap();
        for cut in body..end {
            // Without this letter it may still be read as a key; without all behind it, it is none.
            drop(key(format!("{}{}", &pem[..cut], &pem[cut + 1..])));
            let half = format!("{}{}", &pem[..cut], &pem[end..]);
            assert!(key(half).is_err(), "up to {cut} of {pem}");
        }
    }
    // Sixteen bytes where a key of Ed25519 has 32.
    let short = "-----BEGIN PUBLIC KEY-----\nMBowBQYDK2VwAxEAAAAAAAAAAAAAAAAAAAAAAA==\n\
                 -----END PUBLIC KEY-----\n";
    let refusal = "this is not a key for EdDSA: the key is not a valid Ed25519 key";
    assert_eq!(text(JwtKey::eddsa(short)), refusal);
}

#[test]
fn a_provider_has_keys_with_ids_of_their_own() {
    assert!(matches!(JwtProvider::new([]), Err(JwtError::NoKeys)));
    let key = JwtKey::hs256(SECRET).unwrap();
    let twice = JwtProvider::new([key.clone().id("a"), key.clone().id("a")]);
    assert_eq!(
        text(twice),
        "two keys have the id \"a\": give each its own, so that a token can name one"
    );
    assert!(JwtProvider::new([key.clone().id("a"), key.clone(), key]).is_ok());
}

#[test]
fn nothing_shows_a_key() {
    let key = JwtKey::hs256(SECRET).unwrap().id("new");
    let issuer = JwtIssuer::hs256(SECRET).unwrap();
    let token = issuer.token("ada");
    let private = JwtIssuer::eddsa(ED25519_PRIVATE).unwrap();
    let provider = JwtProvider::new([key.clone()]).unwrap();
    let shown = format!("{key:?} {issuer:?} {token:?} {private:?} {provider:?} {provider:#?}");
    let bytes = format!("{:?}", &SECRET.as_bytes()[..8]);
    let bytes = bytes.trim_matches(['[', ']']);
    assert!(shown.contains("Hs256") && shown.contains("new"), "{shown}");
    assert!(!shown.contains(&SECRET[..8]) && !shown.contains(bytes), "{shown}");
}

fn configured<const N: usize>(vars: [(&str, &str); N]) -> Result<Option<JwtProvider>, JwtError> {
    JwtProvider::from_settings(&Settings::from_vars(vars).unwrap().auth)
}

#[test]
fn settings_make_a_provider() {
    assert!(configured([]).unwrap().is_none());
    let issuer = JwtIssuer::hs256(SECRET).unwrap().key_id("k").issuer("i").audience("a");
    let token = issuer.token("ada").sign().unwrap();
    let vars = [
        ("AUTH_SECRET", SECRET),
        ("AUTH_KEY_ID", "k"),
        ("AUTH_ISSUER", "i"),
        ("AUTH_AUDIENCE", "a"),
    ];
    let provider = configured(vars).unwrap().unwrap();
    assert_eq!(provider.verify(&token).unwrap().subject, "ada");
    for (at, other) in [(0, "another secret, of thirty-two bytes"), (1, "x"), (2, "x"), (3, "x")] {
        let mut vars = vars;
        vars[at].1 = other;
        assert!(configured(vars).unwrap().unwrap().verify(&token).is_err(), "{vars:?}");
    }
    let [secret, ..] = vars;
    let short = configured([secret, ("AUTH_TOKEN_MAX", "20")]).unwrap().unwrap();
    assert!(short.verify(&token).unwrap_err().to_string().ends_with("the token is too long"));
    let strict = configured([secret, ("AUTH_LEEWAY", "0")]).unwrap().unwrap();
    let old = std::time::SystemTime::now() - callboard::secs(3610);
    let issuer = JwtIssuer::hs256(SECRET).unwrap().ttl(callboard::secs(3600));
    let old = issuer.token("ada").issued_at(old).sign().unwrap();
    assert_eq!(strict.verify(&old).unwrap_err().code(), "token_expired");
    assert!(configured([secret]).unwrap().unwrap().verify(&old).is_ok());
}

#[test]
fn a_key_file_is_read_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.pem");
    let path = path.to_str().unwrap();
    let vars = [("AUTH_PUBLIC_KEY_FILE", path), ("AUTH_ALGORITHM", "eddsa")];
    let missing = text(configured(vars));
    assert!(missing.starts_with(&format!("the key file {path} cannot be read: ")), "{missing}");
    std::fs::write(path, ED25519_PUBLIC).unwrap();
    let token = JwtIssuer::eddsa(ED25519_PRIVATE).unwrap().token("ada").sign().unwrap();
    assert!(configured(vars).unwrap().unwrap().verify(&token).is_ok());
    std::fs::write(path, P256_PUBLIC).unwrap();
    assert!(text(configured(vars)).starts_with("this is not a key for EdDSA"));
}

#[test]
fn settings_changed_by_hand_must_still_fit() {
    let mut settings = Settings::from_vars([("AUTH_SECRET", SECRET)]).unwrap().auth;
    settings.public_key_file = Some("key.pem".into());
    let refusal = "the settings do not fit together: there are a secret and a public key: keep one";
    assert_eq!(text(JwtProvider::from_settings(&settings)), refusal);
}
