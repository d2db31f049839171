//! The table of the HTTP edge: an event route beside bare actix-web that does the same by hand.

use futures_util::future::try_join_all;
use tokio::runtime::{Builder, Runtime};

use crate::child::Server;
use crate::failure::Failure;
use crate::load::HttpClient;
use crate::peers::callboard::SYSTEM;
use crate::report::{Report, Target};
use crate::round::{Clocking, Lane, Latency, Pace, race, to_f64};
use crate::wire::PURCHASE;

const BARE: &str = "actix-web";

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
        connections: u64,
    ) -> Result<Self, Failure> {
        let server = Server::start(what)?;
        let address = server.address;
        let connect = (0..connections).map(|_| HttpClient::connect(address, request()));
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

/// The request of all connections.
pub(crate) fn request() -> Vec<u8> {
    let len = PURCHASE.len();
    let head = "POST /purchases HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    format!("{head}Content-Length: {len}\r\n\r\n{PURCHASE}").into_bytes()
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
    for (case, connections) in [("http, 1 connection", 1), ("http, 64 connections", 64)] {
        eprintln!("http: {case}");
        let mut sites = [
            Site::open(&runtime, SYSTEM, "http-ours", connections)?,
            Site::open(&runtime, BARE, "http-bare", connections)?,
        ];
        let before: Vec<_> = sites.iter().map(|site| site.server.processor_time()).collect();
        let lanes = sites.iter_mut().map(|site| site.lane(&runtime)).collect();
        let laps = race(lanes, pace.slower(3), Clocking::Always)?;
        let operations: Vec<_> = laps.iter().map(|lap| lap.operations).collect();
        report.add("http", case, SYSTEM, laps);
        for ((site, before), operations) in sites.iter().zip(before).zip(operations) {
            let used = site.server.processor_time().zip(before).map(|(now, before)| now - before);
            if let Some(row) = report.row_mut(case, site.system) {
                row.rss_bytes = site.server.resident();
                row.cpu_ns_per_op = used.map(|used| to_f64(used) / to_f64(operations));
            }
        }
    }
    targets(report);
    Ok(())
}

fn targets(report: &mut Report) {
    let case = "http, 64 connections";
    let p99 = |system| report.row(case, system)?.p99_ns;
    let slower = p99(SYSTEM).zip(p99(BARE)).map(|(ours, bare)| ours / bare);
    let rate = report.ratio(case, BARE).map(f64::recip);
    report.targets.extend([
        Target::at_least("event route, requests/s of actix-web", rate, 0.85),
        Target::at_most("event route, p99 / actix-web", slower, 1.3),
    ]);
}
