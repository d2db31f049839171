//! The table of the bus: requests, publishing and what bears on them, beside the peers, within one
//! process.

use futures_util::future::try_join_all;

use crate::failure::Failure;
use crate::peers::actix::Actix;
use crate::peers::callboard::{self, Callboard};
use crate::peers::kameo::{Bounded, Unbounded};
use crate::peers::mpsc::Mpsc;
use crate::peers::ractor::Ractor;
use crate::peers::{Known, Peer, Setup, Shape};
use crate::report::{Report, Target};
use crate::round::{Clocking, Lane, Latency, Pace, race, to_f64};
use crate::stage::Stage;
use crate::work::{Order, Tally};

/// callboard with all that is optional switched off.
const BARE: &str = "callboard bare";
/// How many requests are under way at once where it is not one.
const IN_FLIGHT: u64 = 64;
/// So many are published before the last is waited for: less than any queue holds.
const BURST: u64 = 512;

/// How the work is handed in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drive {
    /// Requests, one after the other, with a body of so many bytes.
    OneByOne { body_len: usize },
    /// Requests, many at once.
    Many,
    /// Published in bursts; each order is handled so many times.
    Bursts { audience: u64 },
    /// So many are published before the first is handled: one operation.
    Backlog { len: u64 },
}

/// One piece of work.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    shape: Shape,
    drive: Drive,
    /// Whether the handlers live on another thread than the caller.
    is_away: bool,
    against: Against,
}

/// Who takes part beside callboard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Against {
    /// The peers, and callboard with all that is optional off.
    PeersAndBare,
    Peers,
    /// Only bare actix: the others have nothing like it.
    Actix,
    /// Nobody: it is compared with another case.
    Nobody,
}

const fn case(name: &'static str, shape: Shape, drive: Drive) -> Case {
    Case { name, shape, drive, is_away: false, against: Against::Peers }
}

impl Case {
    const fn away(self) -> Self {
        Self { is_away: true, ..self }
    }

    const fn against(self, against: Against) -> Self {
        Self { against, ..self }
    }

    fn lane<'s, P: Peer>(
        self,
        stage: &'s Stage,
        system: &'static str,
        is_bare: bool,
    ) -> Result<Lane<'s>, Failure> {
        let tally = Tally::default();
        let setup = Setup { shape: self.shape, is_bare, tally: tally.clone() };
        let peer: P = if self.is_away { stage.away(setup)? } else { stage.here(setup)? };
        let drive = self.drive;
        Ok(Lane::new(system, move |times, latency| {
            stage.run(P::GROUND, drive.run(&peer, times, &tally, latency))
        }))
    }

    fn lanes(self, stage: &Stage) -> Result<Vec<Lane<'_>>, Failure> {
        let is_oneway = matches!(self.drive, Drive::Bursts { .. });
        let mut lanes = vec![self.lane::<Callboard>(stage, callboard::SYSTEM, false)?];
        if self.against == Against::PeersAndBare {
            lanes.push(self.lane::<Callboard>(stage, BARE, true)?);
        }
        if self.against != Against::Nobody {
            lanes.push(self.lane::<Actix>(stage, Actix::SYSTEM, false)?);
        }
        if matches!(self.against, Against::PeersAndBare | Against::Peers) {
            lanes.push(self.lane::<Bounded>(stage, Bounded::SYSTEM, false)?);
            if is_oneway {
                lanes.push(self.lane::<Unbounded>(stage, Unbounded::SYSTEM, false)?);
            }
            lanes.push(self.lane::<Ractor>(stage, Ractor::SYSTEM, false)?);
            lanes.push(self.lane::<Mpsc>(stage, Mpsc::SYSTEM, false)?);
        }
        Ok(lanes)
    }
}

const ONE_BY_ONE: Drive = Drive::OneByOne { body_len: 0 };
const TO_ONE: Drive = Drive::Bursts { audience: 1 };

/// How many orders wait.
const FEW: u64 = 1_000;
const MANY: u64 = 1_000_000;
const FEW_WAIT: &str = "publish and handle 1000 that wait";
const MANY_WAIT: &str = "publish and handle 1000000 that wait";

#[rustfmt::skip] // A table.
const CASES: [Case; 22] = [
    case("request", Shape::Desk, ONE_BY_ONE).against(Against::PeersAndBare),
    case("request 64 in flight", Shape::Desk, Drive::Many),
    case("request to an actor", Shape::Actor, ONE_BY_ONE),
    case("request to an actor, 64 in flight", Shape::Actor, Drive::Many),
    case("chain of 3", Shape::Chain, ONE_BY_ONE),
    case("publish", Shape::Audience(1), TO_ONE).against(Against::PeersAndBare),
    case("fan-out to 2", Shape::Audience(2), Drive::Bursts { audience: 2 }),
    case("fan-out to 10", Shape::Audience(10), Drive::Bursts { audience: 10 }),
    case("publish by pattern", Shape::Patterns, TO_ONE).against(Against::Actix),
    case("publish, 10 names", Shape::Names(Known::Few), TO_ONE).against(Against::Actix),
    case("publish, 1000 names", Shape::Names(Known::Many), TO_ONE).against(Against::Actix),
    case("publish among 10 others", Shape::Crowd(10), TO_ONE).against(Against::Nobody),
    case("publish among 10000 others", Shape::Crowd(10_000), TO_ONE).against(Against::Nobody),
    case(FEW_WAIT, Shape::Backlog, Drive::Backlog { len: FEW }).against(Against::Nobody),
    case(MANY_WAIT, Shape::Backlog, Drive::Backlog { len: MANY }).against(Against::Nobody),
    case("ordered by 100 keys, 4 workers", Shape::Keyed, TO_ONE),
    case("request with 64 B", Shape::Desk, Drive::OneByOne { body_len: 64 }),
    case("request with 64 KiB", Shape::Desk, Drive::OneByOne { body_len: 64 * 1024 }),
    case("request across threads", Shape::Desk, ONE_BY_ONE).away(),
    case("request across threads, 64 in flight", Shape::Desk, Drive::Many).away(),
    case("publish across threads", Shape::Audience(1), TO_ONE).away(),
    case("chain of 3 across threads", Shape::Chain, ONE_BY_ONE).away(),
];

impl Drive {
    async fn run<P: Peer>(
        self,
        peer: &P,
        times: u64,
        tally: &Tally,
        latency: &Latency,
    ) -> Result<(), Failure> {
        match self {
            Self::OneByOne { body_len } => requests(peer, times, body_len, latency).await,
            Self::Many => {
                let share = |at| times / IN_FLIGHT + u64::from(at < times % IN_FLIGHT);
                let callers = (0..IN_FLIGHT).map(|at| requests(peer, share(at), 0, latency));
                try_join_all(callers).await.map(drop)
            }
            Self::Bursts { audience } => {
                let mut left = times;
                while left > 0 {
                    let burst = left.min(BURST);
                    tally.expect(burst * audience);
                    for id in 0..burst {
                        peer.publish(Order::new(id, 0)).await?;
                    }
                    tally.last().await;
                    left -= burst;
                }
                Ok(())
            }
            Self::Backlog { len } => {
                for _ in 0..times {
                    tally.expect(len);
                    peer.pause(true);
                    for id in 0..len {
                        peer.publish(Order::new(id, 0)).await?;
                    }
                    peer.pause(false);
                    tally.last().await;
                }
                Ok(())
            }
        }
    }
}

async fn requests<P: Peer>(
    peer: &P,
    times: u64,
    body_len: usize,
    latency: &Latency,
) -> Result<(), Failure> {
    for id in 0..times {
        let order = Order::new(id, body_len);
        let body_at = order.body.as_ptr().addr();
        let begin = latency.begin();
        let total = peer.request(order).await?;
        latency.end(begin);
        // An empty body lies nowhere.
        if total.id != id || (body_len > 0 && total.body_at != body_at) {
            return Err(Failure::Answer(format!("{}: another order, or a copy", P::SYSTEM)));
        }
    }
    Ok(())
}

/// Measures all cases, and what they are to reach.
pub(crate) fn measure(pace: Pace, report: &mut Report) -> Result<(), Failure> {
    let stage = Stage::new()?;
    for case in CASES {
        eprintln!("bus: {}", case.name);
        let is_request = matches!(case.drive, Drive::OneByOne { .. } | Drive::Many);
        let clocking = if is_request { Clocking::Apart } else { Clocking::Never };
        let laps = race(case.lanes(&stage)?, pace, clocking)?;
        report.add("bus", case.name, callboard::SYSTEM, laps);
    }
    targets(report);
    Ok(())
}

fn targets(report: &mut Report) {
    let ours = callboard::SYSTEM;
    let of = |report: &Report, case, system| report.ns(case, system);
    let one_way: &[(&str, &str)] = &[
        ("kameo tell", "kameo"),
        ("kameo tell, unbounded", "kameo unbounded"),
        ("ractor cast", "ractor"),
    ];
    let mut targets = vec![
        Target::at_most("request / actix send", report.ratio("request", "actix"), 1.5),
        Target::at_most(
            "request to an actor / actix send",
            report.ratio("request to an actor", "actix"),
            1.5,
        ),
        Target::at_most("request / kameo ask", report.ratio("request", "kameo"), 1.0),
        Target::at_most("request / ractor call", report.ratio("request", "ractor"), 1.0),
    ];
    for (name, system) in one_way {
        let name = format!("publish / {name}");
        targets.push(Target::at_most(name, report.ratio("publish", system), 1.0));
    }
    let quotient =
        |case, of_case, system| Some(of(report, case, ours)? / of(report, of_case, system)?);
    let singles = quotient("publish", "fan-out to 10", ours).map(|quotient| 10.0 * quotient);
    let per_event = to_f64(FEW) / to_f64(MANY);
    targets.extend([
        Target::at_most("chain of 3 / one hop", quotient("chain of 3", "request", ours), 3.3),
        Target::at_most(
            "request across threads / actix",
            report.ratio("request across threads", "actix"),
            1.7,
        ),
        Target::at_most(
            "the same, 64 in flight / actix",
            report.ratio("request across threads, 64 in flight", "actix"),
            1.7,
        ),
        Target::at_most(
            "publish with 1000 names / with 10",
            quotient("publish, 1000 names", "publish, 10 names", ours),
            1.1,
        ),
        Target::at_most(
            "publish among 10000 others / among 10",
            quotient("publish among 10000 others", "publish among 10 others", ours),
            1.1,
        ),
        Target::at_most(
            "an event of 1000000 that wait / of 1000",
            quotient(MANY_WAIT, FEW_WAIT, ours).map(|quotient| quotient * per_event),
            1.5,
        ),
        Target::at_most("request, all on / off", report.ratio("request", BARE), 1.15),
        Target::at_most("publish, all on / off", report.ratio("publish", BARE), 1.15),
        Target::at_least("ten publishes / fan-out to 10", singles, 5.0),
    ]);
    report.targets.extend(targets);
}

/// Does one piece of callboard's work so many times and nothing else, for a profiler.
pub(crate) fn repeat(work: &str, times: u64) -> Result<(), Failure> {
    let stage = Stage::new()?;
    let case = CASES.iter().find(|case| case.name == work);
    let Some(case) = case else {
        let names = CASES.map(|case| case.name).join("; ");
        return Err(Failure::Answer(format!("`{work}` is none of: {names}")));
    };
    let lane = case.lane::<Callboard>(&stage, callboard::SYSTEM, false)?;
    lane.repeat(times)
}
