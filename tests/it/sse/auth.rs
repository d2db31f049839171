//! Who may listen, and until when.

use std::time::SystemTime;

use awc::http::Method;
use callboard::auth::{AuthError, Authenticated, Authenticating, Credentials, Provider};
use callboard::sse::{Permit, Sse};
use callboard::{App, Identity, millis};

use super::{Placed, Server, Shipped, Stream, settings};

/// Believes tokens such as `ada~read+write~400`: who it is, what is permitted, and for how many
/// milliseconds, if not for good.
struct Plain;

impl Provider for Plain {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Authenticating<'a> {
        Box::pin(async move {
            let mut parts = credentials.token().split('~');
            let mut identity = Identity::new(parts.next().unwrap_or_default());
            let permissions = parts.next().ok_or(AuthError::BadSignature)?;
            identity.permissions = permissions.split('+').map(str::to_owned).collect();
            let known = Authenticated::from(identity);
            Ok(match parts.next() {
                Some(time) => known.until(SystemTime::now() + millis(time.parse().unwrap())),
                None => known,
            })
        })
    }
}

fn list() -> Sse {
    let shipped = Permit::listen::<Shipped>().permissions_all(["shipping"]);
    Sse::new().listen::<Placed>().permit(shipped)
}

async fn serve(sse: Sse) -> Server {
    Server::start(App::new(settings(&[])).auth(Plain), sse).await
}

async fn open(server: &Server, query: &str, token: &str) -> Stream {
    let bearer = format!("Bearer {token}");
    let mut stream = server.open_with(query, &[("authorization", &bearer)]).await;
    stream.begin().await;
    stream
}

#[actix_web::test]
async fn a_stream_is_only_for_whom_the_provider_knows() {
    let server = serve(list()).await;
    let refused = server.ask(Method::GET, "", &[]).await;
    refused.refused(401, "unauthorized");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    let bearer = |token: &str| format!("Bearer {token}");
    let refused = server.ask(Method::GET, "", &[("authorization", &bearer("wrong"))]).await;
    refused.refused(401, "invalid_token");
    // A token is no part of a URL.
    let refused = server.ask(Method::GET, "?token=ada~&access_token=ada~", &[]).await;
    refused.refused(401, "unauthorized");
    open(&server, "", "ada~").await;
}

#[actix_web::test]
async fn events_and_streams_as_a_whole_demand_permissions() {
    let server = serve(list()).await;
    let bearer = ("authorization", "Bearer ada~reading");
    let refused = server.ask(Method::GET, "?type=order.shipped", &[bearer]).await;
    refused.refused(403, "forbidden");
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
    let unknown = server.ask(Method::GET, "?type=order.purged", &[bearer]).await;
    unknown.refused(403, "not_permitted");
    let mut clerk = open(&server, "", "bob~shipping").await;
    // Without a wish one has what one may have.
    let mut ada = open(&server, "", "ada~reading").await;
    server.ship(1).await;
    server.place(2).await;
    assert_eq!(ada.next().await.order(), ("order.placed", 2));
    assert_eq!(clerk.next().await.order(), ("order.shipped", 1));
    // Nor can anybody come back for more than that.
    let start = format!("{}-0", ada.last_id.split_once('-').unwrap().0);
    let headers = [bearer, ("last-event-id", &start)];
    let mut back = server.open_with("", &headers).await;
    assert_eq!(back.next().await.order(), ("order.placed", 2));

    let shipped = || Permit::listen::<Shipped>().permissions_all(["shipping"]);
    let server = serve(Sse::new().permit(shipped())).await;
    server.ask(Method::GET, "", &[bearer]).await.refused(403, "forbidden");
    let server = serve(list().permissions_any(["listening", "shipping"])).await;
    server.ask(Method::GET, "", &[bearer]).await.refused(403, "forbidden");
    open(&server, "?type=order.placed", "bob~shipping").await;
}

#[actix_web::test]
async fn public_streams_are_for_anybody() {
    let server = serve(Sse::new().listen::<Placed>().public()).await;
    server.open("").await.begin().await;
    let stale = [("authorization", "Bearer wrong")];
    server.open_with("", &stale).await.begin().await;
}

#[actix_web::test]
async fn a_stream_ends_when_its_proof_does() {
    let server = serve(list()).await;
    let mut long = open(&server, "", "ada~~60000").await;
    let mut short = open(&server, "", "bob~~300").await;
    server.place(1).await;
    assert_eq!(short.end().await.len(), 1);
    assert_eq!(short.last_words(), "the token has expired");
    assert_eq!(long.next().await.order().1, 1);
    server.streams(1).await;
    server.place(2).await;
    assert_eq!(long.next().await.order().1, 2);
}
