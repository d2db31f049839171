//! Rounds: some systems that do the same work enter, take turns, and leave with their medians.
//!
//! The turns go A B C A B C …, so that a noisy moment of the machine hurts all alike.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::failure::Failure;

/// An odd number, so that one of them is the median.
const FULL_ROUNDS: usize = 7;

/// How long and how often.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// How long one turn is to take.
    pub(crate) turn: Duration,
    /// How many turns each system has.
    pub(crate) rounds: usize,
}

impl Pace {
    pub(crate) fn new(is_quick: bool) -> Self {
        if is_quick {
            Self { turn: Duration::from_millis(10), rounds: 3 }
        } else {
            Self { turn: Duration::from_millis(100), rounds: FULL_ROUNDS }
        }
    }

    pub(crate) fn is_quick(self) -> bool {
        self.rounds < FULL_ROUNDS
    }

    /// The same number of turns, each so many times as long.
    pub(crate) fn slower(self, factor: u32) -> Self {
        Self { turn: self.turn * factor, ..self }
    }
}

/// Whether the time of single operations is of interest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clocking {
    /// No.
    Never,
    /// In turns of their own, because reading the clock is not free.
    Apart,
    /// In each turn: next to what crosses a socket, reading the clock is nothing.
    Always,
}

/// Takes the time of single operations, when it is switched on.
pub(crate) struct Latency(Option<RefCell<Histogram<u64>>>);

impl Latency {
    fn off() -> Self {
        Self(None)
    }

    fn on() -> Self {
        // Three digits, up to a minute: limits that the crate takes.
        Self(Histogram::new_with_max(60_000_000_000, 3).ok().map(RefCell::new))
    }

    pub(crate) fn begin(&self) -> Option<Instant> {
        self.0.as_ref().map(|_| Instant::now())
    }

    pub(crate) fn end(&self, begin: Option<Instant>) {
        if let (Some(histogram), Some(begin)) = (&self.0, begin) {
            let ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            histogram.borrow_mut().saturating_record(ns);
        }
    }

    fn quantiles(&self) -> Option<(f64, f64)> {
        let histogram = self.0.as_ref()?.borrow();
        let at = |quantile| to_f64(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| (at(0.5), at(0.99)))
    }
}

/// Does the work so many times.
type Run<'l> = Box<dyn FnMut(u64, &Latency) -> Result<(), Failure> + 'l>;

/// One system at one piece of work.
pub(crate) struct Lane<'l> {
    system: &'static str,
    run: Run<'l>,
    /// How many operations were done so far.
    operations: u64,
}

/// What a system took for one operation: medians.
pub(crate) struct Lap {
    pub(crate) system: &'static str,
    pub(crate) ns: f64,
    pub(crate) p50_ns: Option<f64>,
    pub(crate) p99_ns: Option<f64>,
    /// How many operations were done, to find out how many make a turn and in all turns together.
    pub(crate) operations: u64,
}

impl<'l> Lane<'l> {
    pub(crate) fn new(
        system: &'static str,
        run: impl FnMut(u64, &Latency) -> Result<(), Failure> + 'l,
    ) -> Self {
        Self { system, run: Box::new(run), operations: 0 }
    }

    /// Does the work so many times, without taking the time.
    pub(crate) fn repeat(mut self, times: u64) -> Result<(), Failure> {
        (self.run)(times, &Latency::off())
    }

    fn time(&mut self, times: u64, latency: &Latency) -> Result<Duration, Failure> {
        let start = Instant::now();
        (self.run)(times, latency)?;
        self.operations += times;
        Ok(start.elapsed())
    }

    /// How often the work is done in a turn; finding that out also warms up.
    fn calibrate(&mut self, turn: Duration) -> Result<u64, Failure> {
        let mut times = 1;
        loop {
            let took = self.time(times, &Latency::off())?;
            let factor = turn.as_secs_f64() / took.as_secs_f64();
            // A hiccup ends in a shorter turn, never in a longer one.
            if factor < 1.5 {
                return Ok(scale(times, factor).max(1));
            }
            times = scale(times, factor.min(8.0)).max(times + 1);
        }
    }
}

/// Runs a race of several systems.
pub(crate) fn race(
    mut lanes: Vec<Lane<'_>>,
    pace: Pace,
    clocking: Clocking,
) -> Result<Vec<Lap>, Failure> {
    let mut times = Vec::new();
    for lane in &mut lanes {
        times.push(lane.calibrate(pace.turn)?);
    }
    let mut means: Vec<Vec<f64>> = vec![Vec::new(); lanes.len()];
    let mut quantiles: Vec<Vec<(f64, f64)>> = vec![Vec::new(); lanes.len()];
    for round in 0..pace.rounds * 2 {
        let is_apart = round >= pace.rounds;
        if is_apart && clocking != Clocking::Apart {
            break;
        }
        let is_clocked = is_apart || clocking == Clocking::Always;
        for (at, lane) in lanes.iter_mut().enumerate() {
            let latency = if is_clocked { Latency::on() } else { Latency::off() };
            let took = lane.time(times[at], &latency)?;
            quantiles[at].extend(latency.quantiles());
            if !is_apart {
                means[at].push(took.as_secs_f64() * 1e9 / to_f64(times[at]));
            }
        }
    }
    let laps = lanes.iter().enumerate().map(|(at, lane)| Lap {
        system: lane.system,
        ns: median(means[at].iter().copied()).unwrap_or(f64::NAN),
        p50_ns: median(quantiles[at].iter().map(|(p50, _)| *p50)),
        p99_ns: median(quantiles[at].iter().map(|(_, p99)| *p99)),
        operations: lane.operations,
    });
    Ok(laps.collect())
}

/// The middle of some figures.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.len().checked_sub(1)? / 2, figures.len() / 2);
    Some(f64::midpoint(figures[low], figures[high]))
}

/// A count as a figure; beyond 2^53 its last digits do not matter here.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn to_f64(count: u64) -> f64 {
    count as f64
}

/// A count by a factor, rounded down.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn scale(count: u64, factor: f64) -> u64 {
    (to_f64(count) * factor) as u64
}
