//! Where an application gets its provider from, and what it says without one.

use std::io::Write as _;

use callboard::auth::{JwtIssuer, JwtKey, JwtProvider};
use callboard::http::Routes;
use callboard::{App, AppError};

use super::{Ask, FOREIGN_SECRET, SECRET, Server, domain, provider, routes, settings, token, ws};
use crate::program::Program;

fn configured(vars: &[(&str, &str)]) -> App {
    App::new(settings(vars)).mount(domain().0).routes(routes()).ws("/ws", ws())
}

#[actix_web::test]
async fn the_settings_give_a_provider() {
    let server = Server(configured(&[("AUTH_SECRET", SECRET)]).start().await.unwrap());
    server.get("/private", None).await.refused(401, "unauthorized");
    server.get("/metrics", None).await.refused(401, "unauthorized");
    assert_eq!(server.get("/private", Some(&token(&[]))).await.subject(), "ada");
}

#[actix_web::test]
async fn a_provider_of_the_program_comes_before_the_settings() {
    let app = configured(&[("AUTH_SECRET", FOREIGN_SECRET)]).auth(provider());
    let server = Server(app.start().await.unwrap());
    assert_eq!(server.get("/private", Some(&token(&[]))).await.subject(), "ada");
    let other = JwtIssuer::hs256(FOREIGN_SECRET).unwrap().token("ada").sign().unwrap();
    server.get("/private", Some(&other)).await.refused(401, "invalid_token");
}

#[actix_web::test]
async fn a_table_of_routes_can_have_a_provider_of_its_own() {
    let other = JwtProvider::new([JwtKey::hs256(FOREIGN_SECRET).unwrap()]).unwrap();
    let own = Routes::new().get::<Ask>("/own").auth(other);
    let app = configured(&[]).auth(provider()).routes(own);
    let server = Server(app.start().await.unwrap());
    let token_of = |secret| JwtIssuer::hs256(secret).unwrap().token("ada").sign().unwrap();
    let (first, second) = (token_of(SECRET), token_of(FOREIGN_SECRET));
    assert_eq!(server.get("/private", Some(&first)).await.subject(), "ada");
    assert_eq!(server.get("/own", Some(&second)).await.subject(), "ada");
    server.get("/own", Some(&first)).await.refused(401, "invalid_token");
    server.get("/private", Some(&second)).await.refused(401, "invalid_token");
}

#[actix_web::test]
async fn a_key_that_cannot_be_used_keeps_the_application_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    std::fs::File::create(&path).unwrap().write_all(b"no key").unwrap();
    let path = path.to_str().unwrap();
    let vars = [("AUTH_PUBLIC_KEY_FILE", path), ("AUTH_ALGORITHM", "ES256")];
    let error = configured(&vars).start().await.unwrap_err();
    assert!(matches!(error, AppError::Auth(_)), "{error}");
}

const WARNING: &str = "anybody who reaches this server";

#[actix_web::test]
async fn a_server_that_others_reach_warns_when_it_knows_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let hello = Program::start("hello", folder.path(), &[("SERVER_HOST", "0.0.0.0")]);
    let warning = hello.wait_for(WARNING);
    assert!(warning.contains("WARN") && warning.contains("AUTH_SECRET"), "{warning}");
    drop(hello);

    let quiet = [("SERVER_HOST", "0.0.0.0"), ("AUTH_SECRET", SECRET)];
    for vars in [&quiet[..], &[("SERVER_HOST", "127.0.0.1")]] {
        let said = Program::start("hello", folder.path(), vars).last_words();
        assert!(said.iter().any(|line| line.contains("stopped")), "{said:?}");
        assert!(!said.iter().any(|line| line.contains(WARNING)), "{said:?}");
    }
}
