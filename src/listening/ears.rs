//! The events that may be listened to, and who may: types enter, and what is behind a permitted name
//! leaves, with its type erased.

use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::sync::Arc;

use callboard_actors::{Domain, Event, Identity, RuntimeBuilder, Subscriber};

use super::hub::{Audience, Hub, Outlet};
use crate::auth::{Forbidden, Requirement};

/// The events that clients may listen to. What is not in it does not exist for them.
pub(crate) struct Ears<O: Outlet> {
    audiences: HashMap<&'static str, Audience>,
    demands: HashMap<&'static str, Requirement>,
    feeds: Vec<Feed<O>>,
    declarations: Vec<fn(RuntimeBuilder) -> RuntimeBuilder>,
}

type Feed<O> = fn(Subscriber<Hub<O>>) -> Subscriber<Hub<O>>;

/// What two permits for one event disagree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disagreement {
    /// Who hears the event.
    Audience,
    /// What is demanded of clients.
    Requirement,
}

/// Why a client may not have an event.
#[derive(Debug)]
pub(crate) enum Denied {
    /// It is not in the list.
    NotPermitted,
    /// It would take a client that is known.
    Unknown,
    /// The client is known, but may not have it.
    Forbidden(Forbidden),
}

/// Which type is behind a name.
#[derive(Clone, Default)]
pub(crate) struct Names(HashMap<&'static str, (TypeId, &'static str)>);

impl<O: Outlet> Ears<O> {
    /// Permits an event; a second time only with the same rules.
    pub(crate) fn listen<E: Event>(
        &mut self,
        audience: Audience,
        requirement: Requirement,
    ) -> Vec<Disagreement> {
        let mut disagreements = Vec::new();
        match self.demands.get(E::NAME) {
            Some(demanded) if *demanded != requirement => {
                disagreements.push(Disagreement::Requirement);
            }
            Some(_) => {}
            None => _ = self.demands.insert(E::NAME, requirement),
        }
        match (self.audiences.get(E::NAME), &audience) {
            (None, _) => {
                self.audiences.insert(E::NAME, audience);
                self.feeds.push(Subscriber::on::<E, ()>);
                self.declarations.push(RuntimeBuilder::listens::<E>);
            }
            (Some(Audience::Everybody), Audience::Everybody) => {}
            _ => disagreements.push(Disagreement::Audience),
        }
        disagreements
    }

    /// What is demanded of those who listen, by event.
    pub(crate) fn demands(&self) -> impl Iterator<Item = (&'static str, &Requirement)> {
        self.demands.iter().map(|(event, requirement)| (*event, requirement))
    }

    /// Tells the graph what goes outside, and mounts the domain whose handler brings it there.
    pub(crate) fn mount(
        &self,
        builder: RuntimeBuilder,
        domain: &'static str,
        outlet: &Arc<O>,
    ) -> RuntimeBuilder {
        let declare = |builder, declaration: &fn(_) -> _| declaration(builder);
        let builder = self.declarations.iter().fold(builder, declare);
        let (outlet, audiences) = (Arc::clone(outlet), Arc::new(self.audiences.clone()));
        let hub = Subscriber::new(move || Hub {
            outlet: Arc::clone(&outlet),
            audiences: Arc::clone(&audiences),
        });
        let hub = self.feeds.iter().fold(hub, |hub, feed| feed(hub));
        builder.mount(Domain::new(domain).actor(hub))
    }

    /// The name, as long as programs live, of an event that may be listened to.
    pub(crate) fn heard(
        &self,
        event: &str,
        identity: Option<&Identity>,
    ) -> Result<&'static str, Denied> {
        let known = self.demands.get_key_value(event);
        let (name, requirement) = known.ok_or(Denied::NotPermitted)?;
        check(requirement, identity)?;
        Ok(name)
    }
}

/// What demands nothing is also for those whom nobody knows.
pub(crate) fn check(requirement: &Requirement, identity: Option<&Identity>) -> Result<(), Denied> {
    if !requirement.demands_permissions() {
        return Ok(());
    }
    requirement.check(identity.ok_or(Denied::Unknown)?).map_err(Denied::Forbidden)
}

impl Names {
    /// Says whether the name stands for this type and no other.
    ///
    /// # Errors
    /// The type that the name stands for already, and this one.
    pub(crate) fn learn<E: Event>(&mut self) -> Result<(), (&'static str, &'static str)> {
        let (new, second) = (TypeId::of::<E>(), type_name::<E>());
        let (known, first) = *self.0.entry(E::NAME).or_insert((new, second));
        if known == new { Ok(()) } else { Err((first, second)) }
    }
}

impl<O: Outlet> Clone for Ears<O> {
    fn clone(&self) -> Self {
        Self {
            audiences: self.audiences.clone(),
            demands: self.demands.clone(),
            feeds: self.feeds.clone(),
            declarations: self.declarations.clone(),
        }
    }
}

impl<O: Outlet> Default for Ears<O> {
    fn default() -> Self {
        Self {
            audiences: HashMap::new(),
            demands: HashMap::new(),
            feeds: Vec::new(),
            declarations: Vec::new(),
        }
    }
}
