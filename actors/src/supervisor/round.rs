//! A restart of several handlers: who is called off next, and who is built next.

use std::collections::BTreeMap;
use std::time::Duration;

/// What the supervisor is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cue {
    /// Stop the actors of a handler, and say when they have ended, or that they take too long.
    Recall(u64, Ticket),
    /// Wait so long before anything is built.
    Pause(Duration, Ticket),
    /// Build the actors of a handler, and say when they have started.
    Release(u64),
}

/// Tells a cue from a later one of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Called off in its turn.
    Working,
    Recalled(Ticket),
    /// Has no actor.
    Resting,
    /// Being built.
    Rising,
}

#[derive(Clone, Copy, Debug, Default)]
enum Pause {
    Wanted(Duration),
    Begun(Ticket),
    #[default]
    Over,
}

/// Who is to be rebuilt, by the number of the handler's seat: numbers grow in order of mounting.
///
/// It only decides; the supervisor does what [`next`](Self::next) says, until it says nothing.
#[derive(Default)]
pub(crate) struct Round {
    stages: BTreeMap<u64, Stage>,
    pause: Pause,
    tickets: u64,
}

impl Round {
    /// Calls these in, to be rebuilt after a pause. Who had just been built is so again.
    pub(crate) fn call(&mut self, seats: impl IntoIterator<Item = u64>, pause: Duration) {
        for seat in seats {
            let stage = self.stages.entry(seat).or_insert(Stage::Working);
            if *stage == Stage::Rising {
                *stage = Stage::Working;
            }
        }
        self.pause = match self.pause {
            Pause::Wanted(other) => Pause::Wanted(pause.max(other)),
            Pause::Begun(_) | Pause::Over => Pause::Wanted(pause),
        };
    }

    /// Whether the seat is called off, or about to be.
    pub(crate) fn is_stopping(&self, seat: u64) -> bool {
        matches!(self.stages.get(&seat), Some(Stage::Working | Stage::Recalled(_)))
    }

    /// All actors of the seat have ended.
    pub(crate) fn ended(&mut self, seat: u64) {
        if let Some(stage) = self.stages.get_mut(&seat) {
            *stage = Stage::Resting;
        }
    }

    /// All actors of the seat have started.
    pub(crate) fn risen(&mut self, seat: u64) {
        if self.stages.get(&seat) == Some(&Stage::Rising) {
            self.stages.remove(&seat);
        }
    }

    /// The seat takes no part any more.
    pub(crate) fn leave(&mut self, seat: u64) {
        self.stages.remove(&seat);
    }

    /// Does not wait any longer for a recalled seat; says whether it did.
    pub(crate) fn give_up_on(&mut self, seat: u64, ticket: Ticket) -> bool {
        let is_late = self.stages.get(&seat) == Some(&Stage::Recalled(ticket));
        if is_late {
            self.leave(seat);
        }
        is_late
    }

    pub(crate) fn pause_is_over(&mut self, ticket: Ticket) {
        if matches!(self.pause, Pause::Begun(begun) if begun == ticket) {
            self.pause = Pause::Over;
        }
    }

    /// One recall at a time, the last seat first; then the pause; then one seat at a time is built,
    /// the first one first.
    pub(crate) fn next(&mut self) -> Option<Cue> {
        let is_waiting = |stage: &Stage| matches!(stage, Stage::Recalled(_) | Stage::Rising);
        if self.stages.is_empty() || self.stages.values().any(is_waiting) {
            return None;
        }
        let ticket = Ticket(self.tickets);
        let mut working = self.stages.iter_mut().filter(|(_, stage)| **stage == Stage::Working);
        if let Some((seat, stage)) = working.next_back() {
            *stage = Stage::Recalled(ticket);
            self.tickets += 1;
            return Some(Cue::Recall(*seat, ticket));
        }
        match self.pause {
            Pause::Wanted(pause) => {
                self.pause = Pause::Begun(ticket);
                self.tickets += 1;
                Some(Cue::Pause(pause, ticket))
            }
            Pause::Begun(_) => None,
            Pause::Over => {
                let (seat, stage) = self.stages.iter_mut().next()?;
                *stage = Stage::Rising;
                Some(Cue::Release(*seat))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::millis;

    #[test]
    fn siblings_stop_in_reverse_and_start_in_order() {
        let mut round = Round::default();
        round.call([1, 2, 3], millis(7));
        round.ended(2);
        let mut cues = Vec::new();
        while let Some(cue) = round.next() {
            cues.push(cue);
            match cue {
                Cue::Recall(seat, _) => round.ended(seat),
                Cue::Pause(_, ticket) => round.pause_is_over(ticket),
                Cue::Release(seat) => round.risen(seat),
            }
        }
        let expected = [
            Cue::Recall(3, Ticket(0)),
            Cue::Recall(1, Ticket(1)),
            Cue::Pause(millis(7), Ticket(2)),
            Cue::Release(1),
            Cue::Release(2),
            Cue::Release(3),
        ];
        assert_eq!(cues, expected);
    }

    #[test]
    fn who_does_not_stop_is_not_waited_for_and_an_old_ticket_is_void() {
        let mut round = Round::default();
        round.call([1, 2], millis(0));
        round.ended(1);
        let Some(Cue::Recall(2, ticket)) = round.next() else { panic!("2 is working") };
        assert!(!round.give_up_on(2, Ticket(99)));
        assert_eq!(round.next(), None, "it is still waited for");
        assert!(round.give_up_on(2, ticket));
        let Some(Cue::Pause(_, begun)) = round.next() else { panic!("a pause was wanted") };
        round.call([1], millis(5));
        round.pause_is_over(begun);
        assert!(matches!(round.next(), Some(Cue::Pause(..))), "the second pause counts");
    }

    #[test]
    fn who_is_being_built_when_one_before_it_fails_is_built_again() {
        let mut round = Round::default();
        round.call([1, 2], millis(0));
        round.ended(1);
        round.ended(2);
        let Some(Cue::Pause(_, ticket)) = round.next() else { panic!("a pause was wanted") };
        round.pause_is_over(ticket);
        assert_eq!(round.next(), Some(Cue::Release(1)));
        round.risen(1);
        assert_eq!(round.next(), Some(Cue::Release(2)));
        round.call([1, 2], millis(0));
        round.ended(1);
        assert!(matches!(round.next(), Some(Cue::Recall(2, _))));
    }

    /// A domain on paper: which of its actors are alive.
    struct Stage {
        alive: Vec<bool>,
        round: Round,
        waiting: Vec<Cue>,
    }

    impl Stage {
        fn fail(&mut self, seat: usize, called: std::ops::Range<usize>) {
            self.alive[seat] = false;
            if !self.round.is_stopping(seat as u64) {
                self.waiting.retain(|cue| *cue != Cue::Release(seat as u64));
                self.round.call(called.map(|seat| seat as u64), Duration::ZERO);
            }
            self.round.ended(seat as u64);
        }

        /// Takes the cues and carries out the oldest; `false` when there is nothing to do.
        fn go_on(&mut self) -> bool {
            self.waiting.extend(std::iter::from_fn(|| self.round.next()));
            if self.waiting.is_empty() {
                return false;
            }
            match self.waiting.remove(0) {
                Cue::Recall(seat, _) => {
                    self.alive[usize::try_from(seat).unwrap()] = false;
                    self.round.ended(seat);
                }
                Cue::Pause(_, ticket) => self.round.pause_is_over(ticket),
                Cue::Release(seat) => {
                    self.alive[usize::try_from(seat).unwrap()] = true;
                    self.round.risen(seat);
                }
            }
            true
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..<_>::default() })]

        #[test]
        fn whatever_fails_meanwhile_everybody_is_alive_in_the_end(
            seats in 1_usize..6,
            failures in vec((0_usize..6, 0_usize..6, 0_usize..5), 1..20),
        ) {
            let (alive, waiting) = (vec![true; seats], Vec::new());
            let mut stage = Stage { alive, round: Round::default(), waiting };
            for (seat, first, steps) in failures {
                let seat = seat % seats;
                // A released actor may fail before it has started; one that rests cannot.
                let is_released = stage.waiting.contains(&Cue::Release(seat as u64));
                if stage.alive[seat] || is_released {
                    stage.fail(seat, first.min(seat)..seats);
                }
                for _ in 0..steps {
                    stage.go_on();
                }
            }
            let mut steps = 0;
            while stage.go_on() {
                steps += 1;
                prop_assert!(steps < 100, "it goes round and round");
            }
            prop_assert_eq!(stage.alive, vec![true; seats]);
        }
    }
}
