//! The permit list: names enter from the wire, and what is behind a permitted name leaves, with its
//! type erased.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use callboard_actors::{
    Bus, Event, Identity, PublishError, Replies, RequestError, RuntimeBuilder, TraceId, TraceParent,
};
use serde_json::value::RawValue;

use super::fault::WsFault;
use super::outlet::Sessions;
use super::refusal::{BadPayload, Refusal};
use crate::auth::{Access, Requirement};
use crate::http::Check;
use crate::listening::{Audience, Disagreement, Ears, Names, check};

/// What a client sent, ready to be turned into an event.
pub(super) struct Call<'c> {
    pub(super) payload: &'c str,
    pub(super) trace_id: TraceId,
    /// The span of the message, where it is recorded.
    pub(super) parent: Option<TraceParent>,
    pub(super) source: Arc<str>,
    pub(super) identity: Option<Identity>,
    /// What the event has to pass, beyond being one.
    pub(super) check: Option<Check>,
}

/// The reply to a request, ready to be written into a frame.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) name: &'static str,
    pub(super) payload: Box<RawValue>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    Request(RequestError),
    /// The reply's own `Serialize` failed.
    Unwritable(serde_json::Error),
}

pub(super) type Publishing = Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send>>;
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Answer, NoAnswer>> + Send>>;

/// What a client may do with an event that it names.
#[derive(Clone, Copy)]
pub(super) enum Entrance {
    Publish(fn(&Bus, Call<'_>) -> Result<Publishing, BadPayload>),
    Request(fn(&Bus, Call<'_>) -> Result<Answering, BadPayload>),
}

/// Everything that clients may do. What is not in it does not exist for them.
#[derive(Clone, Default)]
pub(super) struct Permits {
    entrances: HashMap<&'static str, (Entrance, Requirement)>,
    ears: Ears<Sessions>,
    declarations: Vec<fn(RuntimeBuilder) -> RuntimeBuilder>,
    names: Names,
    checks: HashMap<&'static str, Check>,
    faults: Vec<WsFault>,
}

impl Permits {
    pub(super) fn publish<E: Event>(&mut self, requirement: Requirement) {
        if self.enter::<E>(Entrance::Publish(publish::<E>), requirement) {
            self.declarations.push(RuntimeBuilder::publishes::<E>);
        }
    }

    pub(super) fn request<E: Replies>(&mut self, requirement: Requirement) {
        if self.enter::<E>(Entrance::Request(request::<E>), requirement) {
            self.declarations.push(RuntimeBuilder::requests::<E>);
        }
    }

    pub(super) fn listen<E: Event>(&mut self, audience: Audience, requirement: Requirement) {
        if !self.knows::<E>() {
            return;
        }
        for disagreement in self.ears.listen::<E>(audience, requirement) {
            let event = E::NAME;
            self.faults.push(match disagreement {
                Disagreement::Audience => WsFault::TwoAudiences { event },
                Disagreement::Requirement => WsFault::TwoRequirements { event },
            });
        }
    }

    /// Lets an event in only if it passes.
    #[cfg(feature = "validate")]
    pub(super) fn check(&mut self, event: &'static str, check: Check) {
        self.checks.insert(event, check);
    }

    /// What an event has to pass to come in.
    pub(super) fn check_of(&self, event: &str) -> Option<Check> {
        self.checks.get(event).copied()
    }

    /// All that is wrong with it, behind the door where it is to stand.
    pub(super) fn faults(&self, access: &Access) -> Vec<WsFault> {
        let entrances = self.entrances.iter();
        let entrances = entrances.map(|(event, (_, requirement))| (*event, requirement));
        let mut bad: Vec<_> = entrances
            .chain(self.ears.demands())
            .filter_map(|(event, requirement)| Some((event, access.fault_of(requirement)?)))
            .collect();
        bad.sort_unstable();
        bad.dedup();
        let bad = bad.into_iter().map(|(event, reason)| WsFault::BadPermit { event, reason });
        let door = access.fault().map(|reason| WsFault::BadAccess { reason });
        self.faults.iter().cloned().chain(door).chain(bad).chain(self.unused_checks()).collect()
    }

    fn unused_checks(&self) -> impl Iterator<Item = WsFault> {
        let unused = self.checks.keys().filter(|event| !self.entrances.contains_key(*event));
        let mut unused: Vec<_> = unused.copied().collect();
        unused.sort_unstable();
        unused.into_iter().map(|event| WsFault::UnusedCheck { event })
    }

    /// Tells the graph what comes from outside and what goes there, and mounts who brings it there.
    pub(super) fn declare(
        &self,
        builder: RuntimeBuilder,
        sessions: &Arc<Sessions>,
    ) -> RuntimeBuilder {
        let declare = |builder, declaration: &fn(_) -> _| declaration(builder);
        let builder = self.declarations.iter().fold(builder, declare);
        self.ears.mount(builder, "ws", sessions)
    }

    pub(super) fn entrance(
        &self,
        event: &str,
        identity: Option<&Identity>,
    ) -> Result<Entrance, Refusal> {
        let known = self.entrances.get(event);
        let (entrance, requirement) = known.ok_or_else(Refusal::not_permitted)?;
        check(requirement, identity)?;
        Ok(*entrance)
    }

    /// The name, as long as programs live, of an event that may be listened to.
    pub(super) fn heard(
        &self,
        event: &str,
        identity: Option<&Identity>,
    ) -> Result<&'static str, Refusal> {
        Ok(self.ears.heard(event, identity)?)
    }

    /// Says whether the entrance is new.
    fn enter<E: Event>(&mut self, entrance: Entrance, requirement: Requirement) -> bool {
        if !self.knows::<E>() {
            return false;
        }
        let Some((known, demanded)) = self.entrances.get(E::NAME) else {
            self.entrances.insert(E::NAME, (entrance, requirement));
            return true;
        };
        let same =
            matches!(known, Entrance::Publish(_)) == matches!(entrance, Entrance::Publish(_));
        if !same {
            let event = E::NAME;
            self.faults.push(WsFault::PublishAndRequest { event });
        } else if *demanded != requirement {
            self.faults.push(WsFault::TwoRequirements { event: E::NAME });
        }
        false
    }

    /// Says whether the name stands for this type and no other.
    fn knows<E: Event>(&mut self) -> bool {
        let Err((first, second)) = self.names.learn::<E>() else {
            return true;
        };
        self.faults.push(WsFault::TypeClash { event: E::NAME, first, second });
        false
    }
}

impl Call<'_> {
    fn read<E: Event>(&self) -> Result<E, BadPayload> {
        let event: E = serde_json::from_str(self.payload).or_else(|_| self.look_closer())?;
        let errors = self.check.map(|check| check(&event)).unwrap_or_default();
        if errors.is_empty() { Ok(event) } else { Err(BadPayload::Invalid(errors)) }
    }

    /// Reads once more what could not be read, to find out which field is to blame.
    fn look_closer<E: Event>(&self) -> Result<E, BadPayload> {
        let mut reader = serde_json::Deserializer::from_str(self.payload);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            BadPayload::Unreadable {
                field: (path != ".").then_some(path),
                reason: error.into_inner().to_string(),
            }
        })
    }
}

fn publish<E: Event>(bus: &Bus, call: Call<'_>) -> Result<Publishing, BadPayload> {
    let publish = bus.publish(call.read::<E>()?).trace_id(call.trace_id);
    let mut publish = publish.source(call.source);
    if let Some(parent) = call.parent {
        publish = publish.trace_parent(parent);
    }
    Ok(match call.identity {
        Some(identity) => Box::pin(publish.identity(identity).into_future()),
        None => Box::pin(publish.into_future()),
    })
}

fn request<E: Replies>(bus: &Bus, call: Call<'_>) -> Result<Answering, BadPayload> {
    let request = bus.request(call.read::<E>()?).trace_id(call.trace_id);
    let mut request = request.source(call.source);
    if let Some(parent) = call.parent {
        request = request.trace_parent(parent);
    }
    if let Some(identity) = call.identity {
        request = request.identity(identity);
    }
    Ok(Box::pin(async move {
        let reply = request.await.map_err(NoAnswer::Request)?;
        Ok(Answer {
            name: E::Reply::NAME,
            payload: serde_json::value::to_raw_value(&reply).map_err(NoAnswer::Unwritable)?,
        })
    }))
}
