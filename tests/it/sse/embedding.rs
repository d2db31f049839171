//! Streams in an actix-web server that is not ours.

use actix_web::middleware::Compress;
use actix_web::{App, HttpMessage, HttpResponse, HttpServer, web};
use awc::http::Method;
use callboard::sse::{Permit, Sse};
use callboard::{Identity, Runtime, ws};

use super::{Answer, Placed, Shipped, Stream, settings};

#[actix_web::test]
async fn streams_work_in_a_foreign_server_that_compresses_and_knows_its_users() {
    let sse = Sse::new().listen::<Placed>();
    let runtime = sse.declare(Runtime::new()).unwrap().start().await.unwrap();
    let settings = settings(&[]);
    let route = sse.install("/stream", &runtime.bus(), &settings.sse);
    let server = HttpServer::new(move || {
        App::new()
            .wrap(Compress::default())
            .service(web::scope("/api").configure(route.clone()))
            .route("/legacy", web::get().to(HttpResponse::Ok))
    });
    let server = server.on_connect(ws::on_connect(&settings.ws)).workers(1).disable_signals();
    let server = server.bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let mut stream = Stream::open(address, "/api/stream", &[("accept-encoding", "gzip")]).await;
    stream.begin().await;
    runtime.bus().publish(Placed { id: 1 }).await.unwrap();
    assert_eq!(stream.next().await.order(), ("order.placed", 1));
    assert_eq!(Answer::of(address, Method::GET, "/legacy", &[]).await.status, 200);
    drop(handle.stop(false));
}

#[actix_web::test]
async fn an_event_that_demands_permissions_is_not_for_those_whom_nobody_knows() {
    // Its provider would know nobody; a middleware knows who comes.
    let shipped = Permit::listen::<Shipped>().permissions_all(["shipping"]);
    let sse = Sse::new().listen::<Placed>().permit(shipped);
    sse.check().unwrap_err();
    let runtime = Runtime::new().start().await.unwrap();
    let route = sse.install("/stream", &runtime.bus(), &settings(&[]).sse);
    let server = HttpServer::new(move || {
        App::new()
            .wrap_fn(|request, service| {
                use actix_web::dev::Service as _;
                if request.headers().contains_key("x-known") {
                    let mut identity = Identity::new("ada");
                    identity.permissions.push("shipping".to_owned());
                    request.extensions_mut().insert(identity);
                }
                service.call(request)
            })
            .configure(route.clone())
    });
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let ask =
        |query: &'static str| async move { Answer::of(address, Method::GET, query, &[]).await };
    ask("/stream?type=order.shipped").await.refused(401, "unauthorized");
    Stream::open(address, "/stream", &[]).await.begin().await;
    let known = [("x-known", "1")];
    Stream::open(address, "/stream?type=order.shipped", &known).await.begin().await;
    drop(handle.stop(false));
}
