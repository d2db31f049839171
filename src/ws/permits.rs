//! The permit list: names enter from the wire, and what is behind a permitted name leaves, with its
//! type erased.

use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use callboard_actors::{
    Bus, Event, Identity, PublishError, Replies, RequestError, RuntimeBuilder, Subscriber, TraceId,
    TraceParent,
};
use serde_json::value::RawValue;

use super::fault::WsFault;
use super::hub::{Audience, Hub};
use super::refusal::{BadPayload, Refusal};
use crate::auth::{Access, Requirement};

/// What a client sent, ready to be turned into an event.
pub(super) struct Call<'c> {
    pub(super) payload: &'c str,
    pub(super) trace_id: TraceId,
    /// The span of the message, where it is recorded.
    pub(super) parent: Option<TraceParent>,
    pub(super) source: Arc<str>,
    pub(super) identity: Option<Identity>,
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
    audiences: HashMap<&'static str, Audience>,
    /// What is demanded of those who listen.
    ears: HashMap<&'static str, Requirement>,
    feeds: Vec<fn(Subscriber<Hub>) -> Subscriber<Hub>>,
    declarations: Vec<fn(RuntimeBuilder) -> RuntimeBuilder>,
    types: HashMap<&'static str, (TypeId, &'static str)>,
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
        match self.ears.get(E::NAME) {
            Some(demanded) if *demanded != requirement => {
                self.faults.push(WsFault::TwoRequirements { event: E::NAME });
            }
            Some(_) => {}
            None => _ = self.ears.insert(E::NAME, requirement),
        }
        match (self.audiences.get(E::NAME), &audience) {
            (None, _) => {
                self.audiences.insert(E::NAME, audience);
                self.feeds.push(Subscriber::on::<E, ()>);
                self.declarations.push(RuntimeBuilder::listens::<E>);
            }
            (Some(Audience::Everybody), Audience::Everybody) => {}
            _ => self.faults.push(WsFault::TwoAudiences { event: E::NAME }),
        }
    }

    /// All that is wrong with it, behind the door where it is to stand.
    pub(super) fn faults(&self, access: &Access) -> Vec<WsFault> {
        let entrances = self.entrances.iter().map(|(event, (_, requirement))| (event, requirement));
        let demands = entrances.chain(&self.ears);
        let mut bad: Vec<_> = demands
            .filter_map(|(event, requirement)| Some((*event, access.fault_of(requirement)?)))
            .collect();
        bad.sort_unstable();
        bad.dedup();
        let bad = bad.into_iter().map(|(event, reason)| WsFault::BadPermit { event, reason });
        let door = access.fault().map(|reason| WsFault::BadAccess { reason });
        self.faults.iter().cloned().chain(door).chain(bad).collect()
    }

    /// Tells the graph what comes from outside and what goes there.
    pub(super) fn declare(&self, builder: RuntimeBuilder) -> RuntimeBuilder {
        let declare = |builder, declaration: &fn(_) -> _| declaration(builder);
        self.declarations.iter().fold(builder, declare)
    }

    /// Subscribes the hub to all that may be listened to.
    pub(super) fn feed(&self, hub: Subscriber<Hub>) -> Subscriber<Hub> {
        self.feeds.iter().fold(hub, |hub, feed| feed(hub))
    }

    pub(super) fn audiences(&self) -> &HashMap<&'static str, Audience> {
        &self.audiences
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
        let known = self.ears.get_key_value(event);
        let (name, requirement) = known.ok_or_else(Refusal::not_permitted)?;
        check(requirement, identity)?;
        Ok(name)
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
        let (new, second) = (TypeId::of::<E>(), type_name::<E>());
        let (known, first) = *self.types.entry(E::NAME).or_insert((new, second));
        if known != new {
            let event = E::NAME;
            self.faults.push(WsFault::TypeClash { event, first, second });
        }
        known == new
    }
}

/// What demands nothing is also for those whom nobody knows.
fn check(requirement: &Requirement, identity: Option<&Identity>) -> Result<(), Refusal> {
    if !requirement.demands_permissions() {
        return Ok(());
    }
    let identity = identity.ok_or_else(Refusal::unauthorized)?;
    requirement.check(identity).map_err(|forbidden| Refusal::forbidden(&forbidden))
}

impl Call<'_> {
    fn read<E: Event>(&self) -> Result<E, BadPayload> {
        serde_json::from_str(self.payload).or_else(|_| self.look_closer())
    }

    /// Reads once more what could not be read, to find out which field is to blame.
    fn look_closer<E: Event>(&self) -> Result<E, BadPayload> {
        let mut reader = serde_json::Deserializer::from_str(self.payload);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            BadPayload {
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
