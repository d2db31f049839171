//! How streams end with what they depend on.

use awc::http::Method;
use callboard::sse::Sse;
use callboard::{App, Runtime};

use super::{Answer, Placed, Server, serve_with, settings, soon};

#[actix_web::test]
async fn streams_end_with_the_application_and_do_not_hold_it_up() {
    // Streams that did not end would keep the server for an hour.
    let vars = [("BUS_DRAIN_TIMEOUT", "3600"), ("SSE_HEARTBEAT", "60")];
    let Server { running, sse } = serve_with(&vars).await;
    let address = running.addresses()[0];
    let mut streams = Vec::new();
    for query in ["", "?type=order.placed"] {
        let path = format!("{}{query}", super::PATH);
        let mut stream = super::Stream::open(address, &path, &[]).await;
        stream.begin().await;
        streams.push(stream);
    }
    running.bus().publish(Placed { id: 1 }).await.unwrap();
    let reading = async {
        for stream in &mut streams {
            let heard = stream.end().await;
            assert_eq!(heard.len(), 1, "what was accepted before is still sent");
            assert_eq!(stream.last_words(), "the server is shutting down");
        }
    };
    let (stopped, ()) = tokio::join!(soon("the stop", running.stop()), reading);
    stopped.unwrap();
    assert_eq!(sse.stats().streams, 0);
}

#[actix_web::test]
async fn nobody_is_let_in_once_the_runtime_has_ended() {
    let sse = Sse::new().listen::<Placed>();
    let runtime = sse.declare(Runtime::new()).unwrap().start().await.unwrap();
    let route = sse.install("/stream", &runtime.bus(), &settings(&[]).sse);
    let server = actix_web::HttpServer::new(move || actix_web::App::new().configure(route.clone()));
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let mut stream = super::Stream::open(address, "/stream", &[]).await;
    stream.begin().await;
    runtime.stop().await;
    assert_eq!(stream.end().await, []);
    let refused = Answer::of(address, Method::GET, "/stream", &[]).await;
    refused.refused(503, "shutdown");
    assert_eq!(sse.stats().streams, 0);
    drop(handle.stop(false));
}

#[actix_web::test]
async fn two_applications_do_not_hear_each_other() {
    let start = async || Server::start(App::new(settings(&[])), super::list()).await;
    let (one, two) = (start().await, start().await);
    let (mut first, mut second) = (one.open("").await, two.open("").await);
    first.begin().await;
    second.begin().await;
    one.place(1).await;
    two.place(2).await;
    assert_eq!(first.next().await.order().1, 1);
    assert_eq!(second.next().await.order().1, 2);
}
