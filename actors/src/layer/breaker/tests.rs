//! What the circuit breaker promises, on single examples and against a naive model.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const CONFIG: fn() -> ProptestConfig =
    || ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() };

#[track_caller]
fn admit(circuit: &Circuit, now: Instant) -> Permit {
    match circuit.admit(now) {
        Admission::Admitted(permit) => permit,
        Admission::Refused { retry_after } => panic!("refused, again after {retry_after:?}"),
    }
}

fn run(circuit: &Circuit, verdict: Verdict, now: Instant) -> Option<Change> {
    circuit.settle(admit(circuit, now), verdict, now)
}

fn refused(retry_after: Option<Duration>) -> Admission {
    Admission::Refused { retry_after }
}

#[test]
fn failures_in_a_row_open_the_circuit_and_a_success_starts_anew() {
    use Verdict::{Failure, Neutral, Success};
    let (circuit, now) = (Circuit::new(Breaker::consecutive(2)), Instant::now());
    for verdict in [Failure, Success, Failure, Neutral] {
        assert_eq!(run(&circuit, verdict, now), None);
    }
    assert_eq!(run(&circuit, Failure, now), Some(Change::Opened));
    assert_eq!(circuit.admit(now + secs(10)), refused(Some(secs(20))));
    assert_eq!(circuit.state(now + secs(29)), CircuitState::Open);
    assert_eq!(circuit.state(now + secs(30)), CircuitState::HalfOpen);
}

#[test]
fn all_probes_must_succeed_to_close_and_one_failure_opens_again() {
    let breaker = Breaker::consecutive(1).probes(2).open_for(secs(5));
    let (circuit, start) = (Circuit::new(breaker), Instant::now());
    assert_eq!(run(&circuit, Verdict::Failure, start), Some(Change::Opened));

    let now = start + secs(5);
    let probes = [admit(&circuit, now), admit(&circuit, now)];
    assert!(probes.iter().all(|permit| permit.is_probe));
    assert_eq!(circuit.admit(now), refused(None));
    let [first, second] = probes;
    assert_eq!(circuit.settle(first, Verdict::Success, now), None);
    assert_eq!(circuit.admit(now), refused(None), "a success gives no place free");
    assert_eq!(circuit.settle(second, Verdict::Failure, now), Some(Change::Opened));
    assert_eq!(circuit.admit(now), refused(Some(secs(5))));

    let now = now + secs(5);
    assert_eq!(run(&circuit, Verdict::Success, now), None);
    assert_eq!(run(&circuit, Verdict::Success, now), Some(Change::Closed));
    assert!(!admit(&circuit, now).is_probe);
}

#[test]
fn a_probe_that_says_nothing_leaves_its_place_to_another() {
    let (circuit, start) = (Circuit::new(Breaker::consecutive(1)), Instant::now());
    run(&circuit, Verdict::Failure, start);
    let now = start + secs(30);
    let probe = admit(&circuit, now);
    assert_eq!(circuit.admit(now), refused(None));
    circuit.give_back(probe);
    assert_eq!(run(&circuit, Verdict::Neutral, now), None);
    assert_eq!(run(&circuit, Verdict::Success, now), Some(Change::Closed));
}

#[test]
fn what_was_admitted_before_a_change_counts_for_nothing() {
    let (circuit, start) = (Circuit::new(Breaker::consecutive(1)), Instant::now());
    let old = [(); 4].map(|()| admit(&circuit, start));
    run(&circuit, Verdict::Failure, start);
    let [while_open, success, failure, neutral] = old;
    assert_eq!(circuit.settle(while_open, Verdict::Failure, start + secs(20)), None);

    let now = start + secs(30);
    let probe = admit(&circuit, now);
    assert_eq!(circuit.settle(success, Verdict::Success, now), None);
    circuit.give_back(neutral);
    assert_eq!(circuit.admit(now), refused(None), "an old permit frees no probe's place");
    assert_eq!(circuit.settle(probe, Verdict::Success, now), Some(Change::Closed));
    assert_eq!(circuit.settle(failure, Verdict::Failure, now), None);
    assert_eq!(circuit.state(now), CircuitState::Closed);
}

#[test]
fn a_share_opens_the_circuit_only_after_enough_deliveries() {
    use Verdict::{Failure, Success};
    let (circuit, now) = (Circuit::new(Breaker::ratio(0.5, 4)), Instant::now());
    for verdict in [Failure, Failure, Failure] {
        assert_eq!(run(&circuit, verdict, now), None);
    }
    assert_eq!(run(&circuit, Success, now), Some(Change::Opened), "three of four");
}

#[test]
fn a_share_is_compared_without_rounding() {
    let (circuit, now) = (Circuit::new(Breaker::ratio(0.07, 100)), Instant::now());
    let mut results = (0..100).map(|n| if n < 7 { Verdict::Failure } else { Verdict::Success });
    let change = results.find_map(|verdict| run(&circuit, verdict, now));
    assert_eq!(change, Some(Change::Opened), "seven of a hundred");
}

#[test]
fn an_endless_time_does_not_overflow() {
    let breaker = Breaker::consecutive(1).open_for(Duration::MAX).holding();
    let (circuit, now) = (Circuit::new(breaker), Instant::now());
    run(&circuit, Verdict::Failure, now);
    assert_eq!(circuit.admit(now), refused(Some(Duration::MAX)));
    assert_eq!(circuit.when_open(), WhenOpen::Hold);
}

#[test]
fn wrong_values_are_named() {
    assert_eq!(Breaker::consecutive(1).fault(), None);
    assert_eq!(Breaker::ratio(1.0, 1).refusing().fault(), None);
    let wrong = [
        Breaker::consecutive(0),
        Breaker::ratio(0.0, 1),
        Breaker::ratio(1.1, 1),
        Breaker::ratio(f64::NAN, 1),
        Breaker::ratio(0.5, 0),
        Breaker::ratio(0.5, OF_LAST_MAX + 1),
        Breaker::consecutive(1).open_for(Duration::ZERO),
        Breaker::consecutive(1).probes(0),
    ];
    for breaker in wrong {
        assert!(breaker.fault().is_some(), "{breaker:?}");
    }
}

#[test]
fn the_states_are_written_in_snake_case() {
    let states = [CircuitState::Closed, CircuitState::Open, CircuitState::HalfOpen];
    let written = serde_json::to_string(&states).unwrap();
    assert_eq!(written, r#"["closed","open","half_open"]"#);
}

/// The circuit as its definition says it, with everything that ever happened kept.
struct Model {
    breaker: Breaker,
    /// The results since the circuit was closed, true for a failure.
    results: Vec<bool>,
    opened: Option<Instant>,
    /// The probes since the circuit became half-open; without a verdict they are out.
    probes: Option<Vec<Option<Verdict>>>,
    /// How many times the circuit has changed.
    life: usize,
}

/// What the model remembers of a permit: the life it belongs to, and its place among the probes.
type Ticket = (usize, Option<usize>);

impl Model {
    fn admit(&mut self, now: Instant) -> Option<Ticket> {
        if let Some(opened) = self.opened {
            if now < opened + self.breaker.open_for {
                return None;
            }
            (self.opened, self.probes) = (None, Some(Vec::new()));
            self.life += 1;
        }
        let Some(probes) = &mut self.probes else {
            return Some((self.life, None));
        };
        let busy = probes.iter().filter(|verdict| **verdict != Some(Verdict::Neutral)).count();
        if busy >= self.breaker.probes as usize {
            return None;
        }
        probes.push(None);
        Some((self.life, Some(probes.len() - 1)))
    }

    fn settle(&mut self, (life, place): Ticket, verdict: Verdict, now: Instant) -> Option<Change> {
        if life != self.life {
            return None;
        }
        let change = match (&mut self.probes, place) {
            (Some(probes), Some(place)) => {
                probes[place] = Some(verdict);
                let successes = probes.iter().filter(|v| **v == Some(Verdict::Success)).count();
                match verdict {
                    Verdict::Failure => Some(Change::Opened),
                    _ if successes >= self.breaker.probes as usize => Some(Change::Closed),
                    _ => None,
                }
            }
            _ if verdict == Verdict::Neutral => None,
            _ => {
                self.results.push(verdict == Verdict::Failure);
                self.is_tripped().then_some(Change::Opened)
            }
        };
        if let Some(change) = change {
            self.life += 1;
            self.results.clear();
            self.probes = None;
            self.opened = (change == Change::Opened).then_some(now);
        }
        change
    }

    fn is_tripped(&self) -> bool {
        let last = |count: u32| {
            let from = self.results.len().checked_sub(count as usize)?;
            Some(self.results[from..].iter().filter(|is_failure| **is_failure).count())
        };
        match self.breaker.trip {
            Trip::Consecutive(count) => last(count) == Some(count as usize),
            Trip::Ratio { share, of_last } => last(of_last)
                .and_then(|failures| u32::try_from(failures).ok())
                .is_some_and(|failures| f64::from(failures) / f64::from(of_last) >= share),
        }
    }

    fn state(&self, now: Instant) -> CircuitState {
        match (self.opened, &self.probes) {
            (Some(opened), _) if now < opened + self.breaker.open_for => CircuitState::Open,
            (None, None) => CircuitState::Closed,
            _ => CircuitState::HalfOpen,
        }
    }
}

fn breakers() -> impl Strategy<Value = Breaker> {
    let trip = prop_oneof![
        (1_u32..4).prop_map(Trip::Consecutive),
        (1_u32..=10, 1_u32..8)
            .prop_map(|(tenths, of_last)| Trip::Ratio { share: f64::from(tenths) / 10.0, of_last }),
    ];
    (trip, 1_u32..4).prop_map(|(trip, probes)| Breaker::new(trip).probes(probes).open_for(secs(10)))
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Admit,
    Settle(Index, Verdict),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verdict = prop_oneof![
        3 => Just(Verdict::Success),
        3 => Just(Verdict::Failure),
        1 => Just(Verdict::Neutral),
    ];
    let step = prop_oneof![
        2 => (0_u64..8).prop_map(Step::Advance),
        4 => Just(Step::Admit),
        4 => (any::<Index>(), verdict).prop_map(|(index, verdict)| Step::Settle(index, verdict)),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(CONFIG())]

    #[test]
    fn a_circuit_does_what_its_definition_says(breaker in breakers(), steps in steps()) {
        let (circuit, mut now) = (Circuit::new(breaker.clone()), Instant::now());
        let mut model =
            Model { breaker, results: Vec::new(), opened: None, probes: None, life: 0 };
        let mut out: Vec<(Permit, Ticket)> = Vec::new();
        for step in steps {
            match step {
                Step::Advance(s) => now += secs(s),
                Step::Admit => {
                    let was_open = circuit.state(now) == CircuitState::Open;
                    match (circuit.admit(now), model.admit(now)) {
                        (Admission::Admitted(permit), Some(ticket)) => {
                            prop_assert!(!was_open);
                            prop_assert_eq!(permit.is_probe, ticket.1.is_some());
                            out.push((permit, ticket));
                        }
                        (Admission::Refused { retry_after }, None) => {
                            let ends = model.opened.map(|at| at + secs(10));
                            prop_assert_eq!(retry_after.map(|after| now + after), ends);
                        }
                        (admission, ticket) => prop_assert!(false, "{admission:?}, {ticket:?}"),
                    }
                }
                Step::Settle(index, verdict) if !out.is_empty() => {
                    let (permit, ticket) = out.swap_remove(index.index(out.len()));
                    let change = circuit.settle(permit, verdict, now);
                    prop_assert_eq!(change, model.settle(ticket, verdict, now));
                }
                Step::Settle(..) => {}
            }
            prop_assert_eq!(circuit.state(now), model.state(now));
        }
    }

    #[test]
    fn a_half_open_circuit_never_has_more_probes_than_allowed(
        probes in 1_u32..5, steps in steps(),
    ) {
        let breaker = Breaker::consecutive(1).probes(probes);
        let (circuit, start) = (Circuit::new(breaker), Instant::now());
        run(&circuit, Verdict::Failure, start);
        let now = start + secs(30);
        let (mut out, mut succeeded) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Advance(_) | Step::Admit => {
                    if let Admission::Admitted(permit) = circuit.admit(now) {
                        out.push(permit);
                    }
                }
                Step::Settle(index, verdict) if !out.is_empty() => {
                    let permit = out.swap_remove(index.index(out.len()));
                    succeeded += usize::from(verdict == Verdict::Success);
                    if circuit.settle(permit, verdict, now).is_some() {
                        break;
                    }
                }
                Step::Settle(..) => {}
            }
            prop_assert!(out.len() + succeeded <= probes as usize);
        }
    }

    #[test]
    fn the_ring_counts_what_a_naive_count_finds(
        results in prop::collection::vec(any::<bool>(), 1..200), of_last in 1_u32..30,
    ) {
        let mut tally = Tally::default();
        for (count, is_failure) in (1..).zip(&results) {
            // A share that is never reached, so that all results are counted.
            tally.add(Trip::Ratio { share: 2.0, of_last }, *is_failure);
            let last = &results[count - (of_last as usize).min(count)..count];
            let naive = last.iter().filter(|is_failure| **is_failure).count();
            prop_assert_eq!(tally.failures as usize, naive);
            prop_assert_eq!(tally.ring.len(), last.len());
        }
    }
}
