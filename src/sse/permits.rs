//! The list of events: names enter from the wire, and what is behind a permitted name leaves, with
//! its type erased.

use std::sync::Arc;

use callboard_actors::{Event, Identity, RuntimeBuilder};

use super::broadcast::Broadcast;
use super::fault::SseFault;
use crate::auth::{Access, Requirement};
use crate::listening::{Audience, Denied, Disagreement, Ears, Names};

/// Everything that clients may listen to.
#[derive(Clone, Default)]
pub(super) struct Permits {
    ears: Ears<Broadcast>,
    names: Names,
    faults: Vec<SseFault>,
}

impl Permits {
    pub(super) fn listen<E: Event>(&mut self, audience: Audience, requirement: Requirement) {
        let event = E::NAME;
        if let Err((first, second)) = self.names.learn::<E>() {
            self.faults.push(SseFault::TypeClash { event, first, second });
            return;
        }
        for disagreement in self.ears.listen::<E>(audience, requirement) {
            self.faults.push(match disagreement {
                Disagreement::Audience => SseFault::TwoAudiences { event },
                Disagreement::Requirement => SseFault::TwoRequirements { event },
            });
        }
    }

    /// All that is wrong with it, behind the door where it is to stand.
    pub(super) fn faults(&self, access: &Access) -> Vec<SseFault> {
        let demands = self.ears.demands();
        let bad = demands.filter_map(|(event, demanded)| Some((event, access.fault_of(demanded)?)));
        let mut bad: Vec<_> = bad.collect();
        bad.sort_unstable();
        let bad = bad.into_iter().map(|(event, reason)| SseFault::BadPermit { event, reason });
        let door = access.fault().map(|reason| SseFault::BadAccess { reason });
        self.faults.iter().cloned().chain(door).chain(bad).collect()
    }

    pub(super) fn mount(&self, builder: RuntimeBuilder, all: &Arc<Broadcast>) -> RuntimeBuilder {
        self.ears.mount(builder, "sse", all)
    }

    /// The names, as long as programs live, of the events that a client wants.
    ///
    /// # Errors
    /// Why it may not have one of them.
    pub(super) fn named<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        identity: Option<&Identity>,
    ) -> Result<Vec<&'static str>, Denied> {
        names.map(|name| self.ears.heard(name, identity)).collect()
    }

    /// All that a client may have.
    ///
    /// # Errors
    /// Why it may have nothing.
    pub(super) fn all(&self, identity: Option<&Identity>) -> Result<Vec<&'static str>, Denied> {
        let heard = self.ears.demands().map(|(name, _)| self.ears.heard(name, identity));
        let (heard, denied): (Vec<_>, Vec<_>) = heard.partition(Result::is_ok);
        match denied.into_iter().find_map(Result::err) {
            Some(denied) if heard.is_empty() => Err(denied),
            _ => Ok(heard.into_iter().filter_map(Result::ok).collect()),
        }
    }
}
