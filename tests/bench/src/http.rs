//! The table of the HTTP edge: an event route beside bare actix-web that does the same by hand.

use callboard::auth::JwtIssuer;
use futures_util::future::try_join_all;
use tokio::runtime::{Builder, Runtime};

use crate::child::Server;
use crate::failure::Failure;
use crate::load::HttpClient;
use crate::peers::callboard::SYSTEM;
use crate::report::{Report, Target};
use crate::round::{Clocking, Lane, Latency, Pace, race, to_f64};
use crate::wire::{ORIGIN, PERMISSION, PURCHASE, SECRET};

const BARE: &str = "actix-web";

const MANY: &str = "http, 64 connections";
const GUARDED: &str = "http, 64 connections, everything on";

/// A server, and connections to it.
struct Site {
    system: &'static str,
    server: Server,
    clients: Vec<HttpClient>,
}

impl Site {
    fn open(
        runtime: &Runtime,
        system: &'static str,
        what: &str,
        case: &Case,
    ) -> Result<Self, Failure> {
        let server = Server::start(&format!("{}-{what}", case.servers))?;
        let address = server.address;
        let request = request(&case.headers);
        let connect = (0..case.connections).map(|_| HttpClient::connect(address, request.clone()));
        let clients = runtime.block_on(try_join_all(connect))?;
        Ok(Self { system, server, clients })
    }

    fn lane<'l>(&'l mut self, runtime: &'l Runtime) -> Lane<'l> {
        let clients = &mut self.clients;
        Lane::new(self.system, move |times, latency| {
            runtime.block_on(load(clients, times, latency))
        })
    }
}

/// What is measured: on which servers, with how many connections, and what each request says.
struct Case {
    name: &'static str,
    servers: &'static str,
    connections: u64,
    headers: String,
}

impl Case {
    fn plain(name: &'static str, connections: u64) -> Self {
        Self { name, servers: "http", connections, headers: String::new() }
    }

    /// With a token, from another origin, within a trace, for a client that unpacks.
    fn guarded(name: &'static str, connections: u64) -> Result<Self, Failure> {
        let of_token = |error| Failure::Answer(format!("no token: {error}"));
        let issuer = JwtIssuer::hs256(SECRET).map_err(of_token)?;
        let token = issuer.token("ada").permissions([PERMISSION]).sign().map_err(of_token)?;
        let headers = format!(
            "Authorization: Bearer {token}\r\nOrigin: {ORIGIN}\r\nAccept-Encoding: gzip\r\n\
             traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
        );
        Ok(Self { name, servers: "guarded", connections, headers })
    }
}

/// The request of all connections.
pub(crate) fn request(headers: &str) -> Vec<u8> {
    let len = PURCHASE.len();
    let head = "POST /purchases HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    format!("{head}{headers}Content-Length: {len}\r\n\r\n{PURCHASE}").into_bytes()
}

/// So many requests, shared by the connections, each with one under way.
async fn load(clients: &mut [HttpClient], times: u64, latency: &Latency) -> Result<(), Failure> {
    let connections = clients.len() as u64;
    let share = |at: usize| times / connections + u64::from((at as u64) < times % connections);
    let clients = clients.iter_mut().enumerate().map(async |(at, client)| {
        for _ in 0..share(at) {
            let begin = latency.begin();
            client.exchange().await?;
            latency.end(begin);
        }
        Ok::<_, Failure>(())
    });
    try_join_all(clients).await.map(drop)
}

/// Measures requests at one and at many connections.
pub(crate) fn measure(pace: Pace, report: &mut Report) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let cases =
        [Case::plain("http, 1 connection", 1), Case::plain(MANY, 64), Case::guarded(GUARDED, 64)?];
    for case in &cases {
        eprintln!("http: {}", case.name);
        let mut sites = [
            Site::open(&runtime, SYSTEM, "ours", case)?,
            Site::open(&runtime, BARE, "bare", case)?,
        ];
        let before: Vec<_> = sites.iter().map(|site| site.server.processor_time()).collect();
        let lanes = sites.iter_mut().map(|site| site.lane(&runtime)).collect();
        let laps = race(lanes, pace.slower(3), Clocking::Always)?;
        let operations: Vec<_> = laps.iter().map(|lap| lap.operations).collect();
        report.add("http", case.name, SYSTEM, laps);
        for ((site, before), operations) in sites.iter().zip(before).zip(operations) {
            let used = site.server.processor_time().zip(before).map(|(now, before)| now - before);
            if let Some(row) = report.row_mut(case.name, site.system) {
                row.rss_bytes = site.server.resident();
                row.cpu_ns_per_op = used.map(|used| to_f64(used) / to_f64(operations));
            }
        }
    }
    targets(report);
    Ok(())
}

fn targets(report: &mut Report) {
    for (case, rate, tail) in [
        (MANY, "event route, requests/s of actix-web", "event route, p99 / actix-web"),
        (
            GUARDED,
            "with everything on, requests/s of actix-web",
            "with everything on, p99 / actix-web",
        ),
    ] {
        let p99 = |system| report.row(case, system)?.p99_ns;
        let slower = p99(SYSTEM).zip(p99(BARE)).map(|(ours, bare)| ours / bare);
        let share = report.ratio(case, BARE).map(f64::recip);
        report.targets.push(Target::at_least(rate, share, 0.85));
        report.targets.push(Target::at_most(tail, slower, 1.3));
    }
}
