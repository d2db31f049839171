//! The table of what costs without work: memory at rest, memory of many subscriptions, and the time
//! from the start of a process to its first answer.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::child::Server;
use crate::failure::Failure;
use crate::http::request;
use crate::load::HttpClient;
use crate::machine;
use crate::peers::callboard::SYSTEM;
use crate::report::{Report, Row, Target};
use crate::round::{Pace, median, to_f64};

const BARE: &str = "actix-web";
const RSS: &str = "at rest, with all peers linked in";
const HELLO: &str = "hello at rest";
const SUBSCRIBED: &str = "100000 idle subscriptions";
const START: &str = "start to first answer";

/// Measures memory at rest and the start.
pub(crate) fn measure(pace: Pace, report: &mut Report) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for (case, system, what) in [
        (RSS, SYSTEM, "http-ours"),
        (RSS, BARE, "http-bare"),
        (SUBSCRIBED, SYSTEM, "subscriptions"),
    ] {
        // Mounting so many takes long, and gives the same figure each time.
        if case == SUBSCRIBED && pace.is_quick() {
            continue;
        }
        eprintln!("idle: {case}, {system}");
        let server = Server::start(what)?;
        // What the start has left to do is done after a turn or two.
        runtime.block_on(async { sleep(pace.turn * 5).await });
        let rss_bytes = server.resident();
        let case = case.to_owned();
        report.rows.push(Row { table: "idle", case, system, rss_bytes, ..Row::default() });
    }
    match hello(&runtime, pace)? {
        Some(row) => report.rows.push(row),
        None => eprintln!("idle: skipped {HELLO}: build it first, with `cargo build --bins`"),
    }
    start(&runtime, pace, report)?;
    targets(report);
    Ok(())
}

/// The memory of the smallest application, where it has been built beside this program.
fn hello(runtime: &Runtime, pace: Pace) -> Result<Option<Row>, Failure> {
    let program = env::current_exe()?.with_file_name("hello");
    if !program.is_file() {
        return Ok(None);
    }
    eprintln!("idle: {HELLO}");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut command = Command::new(program);
    command.env("SERVER_PORT", port.to_string()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    runtime.block_on(async { sleep(pace.turn * 5).await });
    let rss_bytes = machine::resident(child.id());
    child.kill()?;
    child.wait()?;
    Ok(Some(Row {
        table: "idle",
        case: HELLO.to_owned(),
        system: SYSTEM,
        rss_bytes,
        ..Row::default()
    }))
}

/// callboard with an empty database, beside actix-web without one.
fn start(runtime: &Runtime, pace: Pace, report: &mut Report) -> Result<(), Failure> {
    eprintln!("idle: {START}");
    let servers =
        [("callboard with SQLite", "db-ours"), (SYSTEM, "http-ours"), (BARE, "http-bare")];
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..pace.rounds {
        for (times, (_, what)) in times.iter_mut().zip(servers) {
            let folder = tempfile::tempdir()?;
            let begin = Instant::now();
            let server = Server::start_in(what, folder.path())?;
            runtime.block_on(async {
                let mut client = HttpClient::connect(server.address, request("")).await?;
                client.exchange().await
            })?;
            times.push(begin.elapsed().as_secs_f64() * 1e9);
        }
    }
    let first = median(times[0].iter().copied());
    for (times, (system, _)) in times.into_iter().zip(servers) {
        let ns = median(times.into_iter());
        report.rows.push(Row {
            table: "idle",
            case: START.to_owned(),
            system,
            ns_per_op: ns,
            ops_per_s: ns.map(|ns| 1e9 / ns),
            ratio: first.zip(ns).map(|(first, ns)| first / ns),
            ..Row::default()
        });
    }
    Ok(())
}

fn targets(report: &mut Report) {
    let megabytes = |case| Some(to_f64(report.row(case, SYSTEM)?.rss_bytes?) / 1e6);
    let (at_rest, subscribed) = (megabytes(HELLO), megabytes(SUBSCRIBED));
    let ms = report.ns(START, "callboard with SQLite").map(|ns| ns / 1e6);
    report.targets.extend([
        Target::at_most("memory of hello at rest, MB", at_rest, 15.0),
        Target::at_most("memory with 100000 idle subscriptions, MB", subscribed, 200.0),
        Target::at_most("start to first answer with SQLite, ms", ms, 50.0),
    ]);
}
