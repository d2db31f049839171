//! How many serve, how many may come, and how long they may stay.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use actix_web::web;
use callboard::http::Routes;
use callboard::settings::Settings;
use callboard::{
    App, Domain, Event, EventContext, EventHandler, HandlerResult, Instances, Policy, Replies,
    Running,
};
use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::program::Program;

const PATIENCE: Duration = Duration::from_mins(1);

/// Declares an event that is answered with the thread on which it was handled.
macro_rules! places {
    ($($event:ident = $name:literal by $handler:ident, $instances:expr;)*) => {$(
        #[derive(Clone, Serialize, Deserialize, JsonSchema)]
        struct $event {}
        impl Event for $event {
            const NAME: &'static str = $name;
        }
        impl Replies for $event {
            type Reply = Told;
        }
        #[derive(Clone)]
        struct $handler;
        impl EventHandler for $handler {
            type Input = $event;
            type Output = Told;
            async fn handle(&self, _: &$event, _: &EventContext) -> HandlerResult<Told> {
                Ok(Told { thread: here() })
            }
            fn policy(&self) -> Policy {
                Policy::default().instances($instances)
            }
        }
    )*};
}

places! {
    Everywhere = "place.everywhere" by Local, Instances::PerWorker;
    AtHome = "place.home" by Central, Instances::One;
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Told {
    thread: String,
}

impl Event for Told {
    const NAME: &'static str = "place.told";
}

fn here() -> String {
    format!("{:?}", thread::current().id())
}

async fn start(vars: &[(&str, &str)]) -> Running {
    let vars = [("SERVER_PORT", "0")].into_iter().chain(vars.iter().copied());
    App::new(Settings::from_vars(vars).unwrap())
        .mount(Domain::new("place").handler(Local).handler(Central))
        .routes(Routes::new().get::<Everywhere>("/everywhere").get::<AtHome>("/home"))
        .configure(|config| _ = config.route("/here", web::get().to(async || here())))
        .start()
        .await
        .unwrap()
}

/// A connection that is kept open.
struct Open(BufReader<TcpStream>);

impl Open {
    async fn to(running: &Running) -> Self {
        Self::at(running.addresses()[0].port()).await
    }

    async fn at(port: u16) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port))).await;
        Self(BufReader::new(stream.expect("it connects in time").unwrap()))
    }

    async fn send(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// The body of the answer, which is a success.
    async fn receive(&mut self) -> String {
        let answer = async {
            let (mut line, mut length) = (String::new(), 0);
            self.0.read_line(&mut line).await.unwrap();
            assert_eq!(line, "HTTP/1.1 200 OK\r\n");
            while line != "\r\n" {
                line.clear();
                self.0.read_line(&mut line).await.unwrap();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.unwrap();
            String::from_utf8(body).unwrap()
        };
        timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    async fn ask(&mut self, path: &str) -> String {
        self.send(path).await;
        self.receive().await
    }

    /// Where the handler with branches answers, once it has one on this thread.
    async fn branch(&mut self, thread: &str) -> String {
        let answered = async {
            loop {
                let told: Told = serde_json::from_str(&self.ask("/everywhere").await).unwrap();
                if told.thread == thread {
                    return told.thread;
                }
                assert_eq!(told.thread, here(), "in the meantime it is answered at home");
            }
        };
        timeout(PATIENCE, answered).await.expect("it is answered where it came in")
    }
}

#[actix_web::test]
async fn each_worker_serves_on_a_thread_of_its_own() {
    for workers in [1, 3] {
        let running = start(&[("SERVER_WORKERS", &workers.to_string())]).await;
        let (mut threads, mut branches, mut homes) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for _ in 0..workers * 2 {
            let mut open = Open::to(&running).await;
            let thread = open.ask("/here").await;
            branches.insert(open.branch(&thread).await);
            threads.insert(thread);
            let told: Told = serde_json::from_str(&open.ask("/home").await).unwrap();
            homes.insert(told.thread);
        }
        assert_eq!((threads.len(), &branches), (workers, &threads));
        assert_eq!(homes.into_iter().collect::<Vec<_>>(), [here()], "the others stay at home");
        assert!(!threads.contains(&here()));
        running.stop().await.unwrap();
    }
}

#[actix_web::test]
async fn who_is_one_too_many_waits_until_another_has_gone() {
    let running = start(&[("SERVER_CONNECTIONS_MAX", "2")]).await;
    let (mut first, mut second) = (Open::to(&running).await, Open::to(&running).await);
    first.ask("/here").await;
    second.ask("/here").await;
    let mut third = Open::to(&running).await;
    third.send("/here").await;
    for _ in 0..50 {
        second.ask("/here").await;
    }
    let nothing = third.0.get_ref().try_read(&mut [0]);
    assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    third.receive().await;
    second.ask("/here").await;
    running.stop().await.unwrap();
}

#[actix_web::test]
async fn a_connection_is_kept_as_long_as_the_settings_say() {
    let (patient, hasty) = (start(&[]).await, start(&[("SERVER_KEEP_ALIVE", "0.1")]).await);
    let mut kept = Open::to(&patient).await;
    kept.ask("/here").await;
    let mut left = Open::to(&hasty).await;
    left.ask("/here").await;
    let end = timeout(PATIENCE, left.0.read(&mut [0])).await;
    assert_eq!(end.expect("it is closed").unwrap(), 0);
    kept.ask("/here").await;
    patient.stop().await.unwrap();
    hasty.stop().await.unwrap();

    let once = start(&[("SERVER_KEEP_ALIVE", "0")]).await;
    let mut open = Open::to(&once).await;
    open.send("/here").await;
    let mut answer = String::new();
    let end = timeout(PATIENCE, open.0.read_to_string(&mut answer)).await;
    end.expect("it is closed").unwrap();
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    once.stop().await.unwrap();
}

/// How many idle connections are opened, if the system lets.
const IDLE_MAX: u64 = 10_000;

/// What else a process has open, with all tests beside this one.
const SPARE: u64 = 500;

/// How many are opened or asked at once.
const AT_ONCE: usize = 200;

/// Lets this process, and those that it starts, open as many files as it may.
fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it cannot be raised, it is as it is.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[actix_web::test]
async fn with_ten_thousand_idle_connections_old_and_new_ones_are_served() {
    let idle = usize::try_from(IDLE_MAX.min(raise_limit().saturating_sub(SPARE))).unwrap();
    assert!(idle > 100, "the limit of open files leaves nothing to test");
    let folder = tempfile::tempdir().unwrap();
    let vars = [("SERVER_WORKERS", "2"), ("SERVER_KEEP_ALIVE", "3600"), ("LOG_LEVEL", "info")];
    let hello = Program::start("hello", folder.path(), &vars);
    let mut open = Vec::with_capacity(idle);
    while open.len() < idle {
        let more = (0..AT_ONCE.min(idle - open.len())).map(|_| async {
            let mut open = Open::at(hello.port()).await;
            open.ask("/hello/Ada").await;
            open
        });
        open.extend(join_all(more).await);
    }
    for _ in 0..10 {
        Open::at(hello.port()).await.ask("/health").await;
    }
    for some in open.chunks_mut(AT_ONCE) {
        let asked = some.iter_mut().map(|open| open.ask("/hello/Grace"));
        for body in join_all(asked).await {
            assert_eq!(body, r#"{"text":"Hello, Grace!"}"#);
        }
    }
    assert_eq!(hello.terminate().code(), Some(0), "with all of them open");
}
