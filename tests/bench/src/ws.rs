//! The table of the WebSocket edge: a permitted request beside a bare actor that answers by hand, and
//! one event for a thousand sessions.

use std::net::SocketAddr;

use futures_util::future::try_join_all;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::child::Server;
use crate::failure::Failure;
use crate::load::{WsClient, frame};
use crate::peers::callboard::SYSTEM;
use crate::report::{Report, Target};
use crate::round::{Clocking, Lane, Latency, Pace, race};
use crate::wire::{news_frame, purchase_frame};

const BARE: &str = "actix-web-actors";
const PATH: &str = "/ws";
/// How many sessions hear a broadcast.
const CROWD: usize = 1000;

const SERVERS: [(&str, &str); 2] = [(SYSTEM, "ws-ours"), (BARE, "ws-bare")];

/// Measures answers at one and at many connections, and a broadcast.
pub(crate) fn measure(pace: Pace, report: &mut Report) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for (case, connections) in [("ws, 1 connection", 1), ("ws, 64 connections", 64)] {
        eprintln!("ws: {case}");
        echo(&runtime, pace, case, connections, report)?;
    }
    eprintln!("ws: broadcast");
    broadcast(&runtime, pace, report)?;
    let rate = |case| report.ratio(case, BARE).map(f64::recip);
    let (one, many) = (rate("ws, 1 connection"), rate("ws, 64 connections"));
    report.targets.extend([
        Target::at_least("ws, 1 connection, messages/s of bare", one, 0.8),
        Target::at_least("ws, 64 connections, messages/s of bare", many, 0.8),
    ]);
    Ok(())
}

fn note(report: &mut Report, case: &str, servers: &[Server]) {
    for ((system, _), server) in SERVERS.iter().zip(servers) {
        if let Some(row) = report.row_mut(case, system) {
            row.rss_bytes = server.resident();
        }
    }
}

fn echo(
    runtime: &Runtime,
    pace: Pace,
    case: &str,
    connections: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let asked = &frame(&purchase_frame());
    let (mut lanes, mut servers) = (Vec::new(), Vec::new());
    for (system, what) in SERVERS {
        let server = Server::start(what)?;
        let mut clients = runtime.block_on(connect(server.address, connections))?;
        servers.push(server);
        lanes.push(Lane::new(system, move |times, latency| {
            runtime.block_on(ask(&mut clients, asked, times, latency))
        }));
    }
    let laps = race(lanes, pace.slower(3), Clocking::Always)?;
    report.add("ws", case, SYSTEM, laps);
    note(report, case, &servers);
    Ok(())
}

/// One after the other: a thousand at once would overflow the backlog of the listener.
async fn connect(address: SocketAddr, connections: usize) -> Result<Vec<WsClient>, Failure> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(WsClient::connect(address, PATH).await?);
    }
    Ok(clients)
}

/// So many messages, shared by the connections, each with one under way.
async fn ask(
    clients: &mut [WsClient],
    frame: &[u8],
    times: u64,
    latency: &Latency,
) -> Result<(), Failure> {
    let connections = clients.len() as u64;
    let share = |at: usize| times / connections + u64::from((at as u64) < times % connections);
    let clients = clients.iter_mut().enumerate().map(async |(at, client)| {
        for _ in 0..share(at) {
            let begin = latency.begin();
            client.send(frame).await?;
            client.expect(b"\"price\":21").await?;
            latency.end(begin);
        }
        Ok::<_, Failure>(())
    });
    try_join_all(clients).await.map(drop)
}

fn broadcast(runtime: &Runtime, pace: Pace, report: &mut Report) -> Result<(), Failure> {
    let case = "ws, broadcast to 1000 sessions";
    let (mut lanes, mut servers) = (Vec::new(), Vec::new());
    for (system, what) in SERVERS {
        let server = Server::start(what)?;
        let mut crowd = runtime.block_on(Crowd::gather(server.address, system == SYSTEM))?;
        servers.push(server);
        lanes.push(Lane::new(system, move |times, latency| {
            runtime.block_on(crowd.hear(times, latency))
        }));
    }
    let laps = race(lanes, pace.slower(3), Clocking::Always)?;
    report.add("ws", case, SYSTEM, laps);
    note(report, case, &servers);
    Ok(())
}

/// Many clients that listen, each in a task, and one that speaks.
struct Crowd {
    speaker: WsClient,
    heard: mpsc::Receiver<Result<(), Failure>>,
    news: Vec<u8>,
}

impl Crowd {
    async fn gather(address: SocketAddr, subscribes: bool) -> Result<Self, Failure> {
        let (sender, heard) = mpsc::channel(CROWD);
        let mut clients = connect(address, CROWD).await?;
        if subscribes {
            let subscribe = frame(r#"{"subscribe":["bench.news"]}"#);
            for client in &mut clients {
                client.send(&subscribe).await?;
                client.expect(b"subscribed").await?;
            }
        }
        let speaker = WsClient::connect(address, PATH).await?;
        for mut client in clients {
            let sender = sender.clone();
            tokio::spawn(async move {
                loop {
                    let heard = client.expect(b"the shop is open").await;
                    let is_over = heard.is_err();
                    // Nobody receives any more when the race is over.
                    if sender.send(heard).await.is_err() || is_over {
                        return;
                    }
                }
            });
        }
        Ok(Self { speaker, heard, news: frame(&news_frame()) })
    }

    /// Speaks so many times, and each time waits until all have heard it.
    async fn hear(&mut self, times: u64, latency: &Latency) -> Result<(), Failure> {
        for _ in 0..times {
            let begin = latency.begin();
            self.speaker.send(&self.news).await?;
            for _ in 0..CROWD {
                let heard = self.heard.recv().await;
                heard.ok_or_else(|| Failure::Answer("nobody listens".to_owned()))??;
            }
            latency.end(begin);
        }
        Ok(())
    }
}
