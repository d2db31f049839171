//! Who is rebuilt when one handler of a domain fails.

use std::fmt;

use crate::policy::Restart;

/// Which handlers of a domain are rebuilt when one of them fails, after the supervisor behaviour of
/// [Erlang/OTP](https://www.erlang.org/doc/system/sup_princ.html).
///
/// Who is rebuilt in a domain of three handlers, numbered in the order of mounting; those that were
/// added at run time are the last:
///
/// | what the actor of handler 2 does | `OneForOne` | `OneForAll` | `RestForOne` |
/// |---|---|---|---|
/// | it panics | 2 | 1, 2, 3 | 2, 3 |
/// | it panics, and its policy says [`Restart::Never`] | nobody | nobody | nobody |
/// | it calls `ctx.stop()`, and its policy says [`Restart::Always`] | 2 | 2 | 2 |
/// | it calls `ctx.stop()` otherwise | nobody | nobody | nobody |
///
/// Siblings are stopped in reverse order of mounting, then all are built in order, each when the
/// one before it has run its `started`. Their queues survive, and an idle sibling loses nothing. A
/// delivery that was in work on a sibling fails with the transient code `restarted`, so the policy
/// of that handler decides whether it is tried again. Only the handler that failed comes nearer to
/// its [`restarts_max`](crate::Policy::restarts_max); in metrics each of them counts a restart. A
/// sibling that does not stop within 1 s, because it keeps a thread of its own, is rebuilt later.
///
/// Two rules differ from OTP. `ctx.stop()` is no failure, whatever the policy, so it never touches
/// a sibling. And a sibling with [`Restart::Never`] is left as it is, where OTP would end it, since
/// its queue would end with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// The handler that failed: its siblings do not depend on it.
    #[default]
    OneForOne,
    /// All handlers of the domain: they cannot go on without each other's state.
    OneForAll,
    /// It and those that were mounted after it: each may depend on those before it.
    RestForOne,
}

impl Strategy {
    /// Whether the handler of this place in the order of mounting is rebuilt with the one that
    /// failed.
    pub(crate) fn rebuilds(self, place: u64, failed: u64, restart: Restart) -> bool {
        let is_called = match self {
            Self::OneForOne => false,
            Self::OneForAll => restart != Restart::Never,
            Self::RestForOne => place > failed && restart != Restart::Never,
        };
        is_called || place == failed
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_table_of_strategy() {
        let rebuilt = |strategy: Strategy, restart| {
            let is_called = |place: &u64| strategy.rebuilds(*place, 1, restart);
            (0..3).filter(is_called).map(|place| place + 1).collect::<Vec<_>>()
        };
        for restart in [Restart::Always, Restart::OnFailure] {
            assert_eq!(rebuilt(Strategy::OneForOne, restart), [2]);
            assert_eq!(rebuilt(Strategy::OneForAll, restart), [1, 2, 3]);
            assert_eq!(rebuilt(Strategy::RestForOne, restart), [2, 3]);
        }
        assert_eq!(rebuilt(Strategy::OneForAll, Restart::Never), [2], "siblings are left alone");
    }
}
