//! Which origins are left alone for a while: moments and verdicts enter, passes or refusals leave.
//!
//! Source: Michael T. Nygard, "Release It!", 2nd edition, chapter 5 ("Stability Patterns").

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// The origins that are remembered at once. Only those are whose last call failed.
const ORIGINS_MAX: usize = 1024;

/// The circuit of each origin that is in trouble; any other origin's is closed.
pub(super) struct Circuits {
    failures_max: u32,
    open_for: Duration,
    troubled: HashMap<String, Circuit>,
}

/// | state | `open_until` | `is_probed` |
/// |---|---|---|
/// | closed | none | false |
/// | open | some, in the future | false |
/// | half-open | some, in the past | whether its one probe is on its way |
#[derive(Default)]
struct Circuit {
    failures: u32,
    open_until: Option<Instant>,
    is_probed: bool,
}

/// The right to one attempt; it is settled once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Pass {
    Usual,
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// The caller went away: it says nothing about the origin.
    Neutral,
}

impl Circuits {
    pub(super) fn new(failures_max: u32, open_for: Duration) -> Self {
        Self { failures_max, open_for, troubled: HashMap::new() }
    }

    /// Asks for the right to one attempt; refused, it says when to come again, if that is known.
    pub(super) fn admit(&mut self, origin: &str, now: Instant) -> Result<Pass, Option<Duration>> {
        let Some(circuit) = self.troubled.get_mut(origin) else {
            return Ok(Pass::Usual);
        };
        match circuit.open_until {
            None => Ok(Pass::Usual),
            Some(until) if now < until => Err(Some(until - now)),
            Some(_) if circuit.is_probed => Err(None),
            Some(_) => {
                circuit.is_probed = true;
                Ok(Pass::Probe)
            }
        }
    }

    /// Says how the attempt ended; whether the circuit opened.
    pub(super) fn settle(
        &mut self,
        origin: &str,
        pass: Pass,
        verdict: Verdict,
        now: Instant,
    ) -> bool {
        let known = self.troubled.get_mut(origin);
        let is_open = known.as_ref().is_some_and(|circuit| circuit.open_until.is_some());
        // What was on its way when the circuit opened says nothing about now.
        if is_open && pass == Pass::Usual {
            return false;
        }
        match (verdict, known) {
            (Verdict::Success, _) => {
                self.troubled.remove(origin);
                false
            }
            (Verdict::Neutral, Some(circuit)) => {
                circuit.is_probed = false;
                false
            }
            (Verdict::Neutral, None) => false,
            (Verdict::Failure, _) => self.fail(origin, pass, now),
        }
    }

    fn fail(&mut self, origin: &str, pass: Pass, now: Instant) -> bool {
        if self.failures_max == 0 {
            return false;
        }
        if !self.troubled.contains_key(origin) && self.troubled.len() >= ORIGINS_MAX {
            self.forget_one();
        }
        let circuit = self.troubled.entry(origin.to_owned()).or_default();
        circuit.failures = circuit.failures.saturating_add(1);
        circuit.is_probed = false;
        let opens = pass == Pass::Probe || circuit.failures >= self.failures_max;
        if opens {
            circuit.open_until = Some(now + self.open_for);
        }
        opens
    }

    /// Makes room: rather of an origin that is not suspended.
    fn forget_one(&mut self) {
        let mut origins = self.troubled.iter();
        let closed = origins.find(|(_, circuit)| circuit.open_until.is_none());
        let origin = closed.or_else(|| self.troubled.iter().next()).map(|(origin, _)| origin);
        if let Some(origin) = origin.cloned() {
            self.troubled.remove(&origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(10);

    fn opened() -> (Circuits, Instant) {
        let (mut circuits, now) = (Circuits::new(2, OPEN_FOR), Instant::now());
        for opens in [false, true] {
            let pass = circuits.admit("a", now).unwrap();
            assert_eq!(circuits.settle("a", pass, Verdict::Failure, now), opens);
        }
        (circuits, now)
    }

    #[test]
    fn failures_in_a_row_open_the_circuit_of_one_origin() {
        let (mut circuits, now) = opened();
        assert_eq!(circuits.admit("a", now), Err(Some(OPEN_FOR)));
        assert_eq!(circuits.admit("b", now), Ok(Pass::Usual));
        let mut circuits = Circuits::new(2, OPEN_FOR);
        for _ in 0..5 {
            assert!(!circuits.settle("a", Pass::Usual, Verdict::Failure, now));
            assert!(!circuits.settle("a", Pass::Usual, Verdict::Success, now));
        }
        assert_eq!(circuits.admit("a", now), Ok(Pass::Usual));
    }

    #[test]
    fn one_probe_decides() {
        for (verdict, next) in [
            (Verdict::Success, Ok(Pass::Usual)),
            (Verdict::Failure, Err(Some(OPEN_FOR))),
            (Verdict::Neutral, Ok(Pass::Probe)),
        ] {
            let (mut circuits, now) = opened();
            let later = now + OPEN_FOR;
            assert_eq!(circuits.admit("a", later), Ok(Pass::Probe));
            assert_eq!(circuits.admit("a", later), Err(None));
            // An attempt from before the circuit opened comes home late.
            let _ = circuits.settle("a", Pass::Usual, Verdict::Success, later);
            assert_eq!(circuits.admit("a", later), Err(None));
            let _ = circuits.settle("a", Pass::Probe, verdict, later);
            assert_eq!(circuits.admit("a", later), next, "{verdict:?}");
        }
    }

    #[test]
    fn without_a_limit_nothing_opens() {
        let (mut circuits, now) = (Circuits::new(0, OPEN_FOR), Instant::now());
        for _ in 0..100 {
            assert!(!circuits.settle("a", Pass::Usual, Verdict::Failure, now));
        }
        assert!(circuits.troubled.is_empty());
    }

    #[test]
    fn only_so_many_origins_are_remembered() {
        let (mut circuits, now) = (Circuits::new(2, OPEN_FOR), Instant::now());
        for _ in 0..2 {
            let _ = circuits.settle("bad", Pass::Usual, Verdict::Failure, now);
        }
        for i in 0..2 * ORIGINS_MAX {
            let _ = circuits.settle(&i.to_string(), Pass::Usual, Verdict::Failure, now);
        }
        assert_eq!(circuits.troubled.len(), ORIGINS_MAX);
        assert_eq!(circuits.admit("bad", now), Err(Some(OPEN_FOR)));
    }

    proptest! {
        /// Whatever happens, no more than one probe is out, and an origin is never lost for good.
        #[test]
        fn a_circuit_always_comes_back(steps in prop::collection::vec(0..4_u8, 0..60)) {
            let mut circuits = Circuits::new(3, OPEN_FOR);
            let mut now = Instant::now();
            let mut out = Vec::new();
            for step in steps {
                match step {
                    0 => out.extend(circuits.admit("a", now).ok()),
                    1 => now += OPEN_FOR,
                    verdict => {
                        let verdict =
                            if verdict == 2 { Verdict::Failure } else { Verdict::Success };
                        if let Some(pass) = out.pop() {
                            let _ = circuits.settle("a", pass, verdict, now);
                        }
                    }
                }
                prop_assert!(out.iter().filter(|pass| **pass == Pass::Probe).count() <= 1);
            }
            for pass in out {
                let _ = circuits.settle("a", pass, Verdict::Neutral, now);
            }
            prop_assert!(circuits.admit("a", now + OPEN_FOR).is_ok());
        }
    }
}
