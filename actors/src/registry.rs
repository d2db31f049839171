//! The actor that owns the routing table: it seats handlers, unseats them, and publishes each new
//! table as an immutable snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, Message, MessageResult, ResponseFuture};

use crate::domain::Domain;
use crate::graph::{DomainNode, Graph, Node, Unheard};
use crate::phase::Phase;
use crate::policy::Policy;
use crate::router::Router;
use crate::seat::{Seat, SeatPlan};
use crate::start_error::{StartError, StartFault};
use crate::subscriber::HireWith;
use crate::supervisor::{
    Escalation, OnDown, Regime, StartChild, StopAll, StopChild, Strategy, Supervisor,
};
use crate::table::Table;

/// Seats the handlers of some domains, all or none.
pub(crate) struct Mount {
    pub(crate) domains: Vec<Domain>,
    pub(crate) unheard: Unheard,
    /// Only look for faults.
    pub(crate) dry_run: bool,
}

impl Message for Mount {
    type Result = Result<Vec<Arc<Seat>>, StartError>;
}

/// Unseats one handler; answers when what waited in its queue is handled.
pub(crate) struct Unmount {
    pub(crate) seat_id: u64,
}

impl Message for Unmount {
    type Result = ();
}

/// Stops every handler, the last domain first.
pub(crate) struct StopDomains;

impl Message for StopDomains {
    type Result = ();
}

/// Asks for the graph as it is now.
pub(crate) struct GetGraph;

impl Message for GetGraph {
    type Result = Graph;
}

/// A domain at work.
#[derive(Clone)]
struct Troupe {
    name: Arc<str>,
    policy: Policy,
    supervisor: Addr<Supervisor>,
}

/// What would be if some domains were mounted.
struct Plan {
    graph: Graph,
    /// The handlers that are new in the graph.
    hires: Vec<HireWith>,
    /// All domains, those without handlers too, with their policies.
    domains: Vec<(String, Policy, Strategy, Escalation)>,
    faults: Vec<StartFault>,
}

pub(crate) struct Registry {
    router: Arc<Router>,
    graph: Graph,
    seats: Vec<Arc<Seat>>,
    domains: Vec<Troupe>,
    /// What every domain's policy leaves open.
    policy: Policy,
    on_down: OnDown,
    next_id: u64,
}

impl Registry {
    /// `graph` holds what is known of the outside, and no handlers yet.
    pub(crate) fn new(router: Arc<Router>, graph: Graph, policy: Policy, on_down: OnDown) -> Self {
        let (seats, domains) = (Vec::new(), Vec::new());
        Self { router, graph, seats, domains, policy, on_down, next_id: 1 }
    }

    fn known(&self, domain: &str) -> Option<&Troupe> {
        self.domains.iter().find(|troupe| *troupe.name == *domain)
    }

    /// The domain at work, with a supervisor that is started when it is needed first.
    fn troupe(
        &mut self,
        domain: &str,
        policy: Policy,
        strategy: Strategy,
        escalation: Escalation,
    ) -> Troupe {
        if let Some(known) = self.known(domain) {
            return known.clone();
        }
        let (name, on_down) = (Arc::<str>::from(domain), self.on_down.clone());
        let regime = Regime { domain: Arc::clone(&name), strategy, escalation, on_down };
        let new = Troupe { name, policy, supervisor: Supervisor::new(regime).start() };
        self.domains.push(new.clone());
        new
    }

    /// The graph as it would be with these domains, and the policies merged.
    fn plan(&self, domains: Vec<Domain>) -> Plan {
        let mut plan = Plan {
            graph: self.graph.clone(),
            hires: Vec::new(),
            domains: Vec::new(),
            faults: Vec::new(),
        };
        for domain in domains {
            if let Some(reason) = domain.policy.fault() {
                let owner = format!("domain `{}`", domain.name);
                plan.faults.push(StartFault::BadPolicy { owner, reason });
            }
            let Domain { strategy, escalation, .. } = domain;
            if let Some(reason) = escalation.fault() {
                let owner = format!("domain `{}`", domain.name);
                plan.faults.push(StartFault::BadPolicy { owner, reason });
            }
            if plan.graph.domains.iter().all(|known| known.name != domain.name) {
                let name = domain.name.clone();
                plan.graph.domains.push(DomainNode { name, strategy, escalation });
            }
            // A handler that comes later lives by the policy of its domain.
            let known = self.known(&domain.name).map(|troupe| troupe.policy.clone());
            let policy = known.unwrap_or(domain.policy);
            for spec in domain.handlers {
                let own_fault = spec.policy.fault();
                let scopes = [&policy, &self.policy, &spec.form, &Policy::built_in()];
                let name = unique_name(&plan.graph, &domain.name, &spec.name);
                // Those of wider scopes are not the handler's.
                plan.faults.extend(own_fault.map(|reason| {
                    let owner = name.clone();
                    StartFault::BadPolicy { owner, reason }
                }));
                plan.graph.handlers.push(Node {
                    name,
                    domain: domain.name.clone(),
                    inputs: spec.inputs,
                    patterns: spec.patterns,
                    outputs: spec.outputs,
                    error_facts: spec.error_facts,
                    policy: scopes.into_iter().fold(spec.policy, Policy::or),
                });
                plan.hires.push(spec.hire);
            }
            plan.domains.push((domain.name, policy, strategy, escalation));
        }
        plan
    }

    fn seat(&mut self, node: &Node, domain: &Arc<str>) -> Arc<Seat> {
        let id = self.next_id;
        self.next_id += 1;
        let seat = Arc::new(Seat::new(SeatPlan {
            id,
            handler: node.name.as_str().into(),
            domain: Arc::clone(domain),
            inputs: node.inputs.clone(),
            patterns: node.patterns.clone(),
            outputs: node.outputs.clone(),
            policy: node.policy.clone(),
        }));
        self.seats.push(Arc::clone(&seat));
        seat
    }

    fn publish_table(&self) {
        self.router.set_table(Table::new(self.seats.clone()));
    }
}

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<Mount> for Registry {
    type Result = ResponseFuture<Result<Vec<Arc<Seat>>, StartError>>;

    fn handle(&mut self, mount: Mount, _: &mut Context<Self>) -> Self::Result {
        let Mount { domains, unheard, dry_run } = mount;
        let Plan { graph, hires, domains, mut faults } = self.plan(domains);
        faults.extend(graph.faults(unheard));
        if self.router.phase.get() != Phase::Running {
            faults.push(StartFault::Shutdown);
        }
        if dry_run || !faults.is_empty() {
            return Box::pin(async { Err(StartError { faults }) });
        }

        // Also those without handlers: a handler that comes later lives by their policy.
        let troupes: HashMap<_, _> = domains
            .into_iter()
            .map(|(name, policy, strategy, escalation)| {
                let troupe = self.troupe(&name, policy, strategy, escalation);
                (name, troupe)
            })
            .collect();
        let mut seats = Vec::new();
        let mut starts = Vec::new();
        for (node, hire) in graph.handlers[self.graph.handlers.len()..].iter().zip(hires) {
            let troupe = troupes[&node.domain].clone();
            let seat = self.seat(node, &troupe.name);
            starts.push((troupe.supervisor, hire(Arc::clone(&self.router), Arc::clone(&seat))));
            seats.push(seat);
        }
        self.graph = graph;
        self.publish_table();
        Box::pin(async move {
            for (supervisor, hire) in starts {
                let started = supervisor.send(StartChild(hire)).await;
                started.map_err(|_| StartError::shutdown())?;
            }
            Ok(seats)
        })
    }
}

impl Handler<Unmount> for Registry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Unmount { seat_id }: Unmount, _: &mut Context<Self>) -> Self::Result {
        let Some(place) = self.seats.iter().position(|seat| seat.id == seat_id) else {
            return Box::pin(async {});
        };
        let seat = self.seats.remove(place);
        self.graph.handlers.retain(|node| *node.name != *seat.handler);
        self.publish_table();
        seat.queue.close();
        // Paused, it would never be done with what waits.
        seat.set_paused(false);
        let supervisor = self.known(&seat.domain).map(|troupe| troupe.supervisor.clone());
        Box::pin(async move {
            if let Some(supervisor) = supervisor {
                // A supervisor that is gone has stopped the handler.
                let _ = supervisor.send(StopChild { seat_id }).await;
            }
        })
    }
}

impl Handler<StopDomains> for Registry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopDomains, _: &mut Context<Self>) -> Self::Result {
        let domains = std::mem::take(&mut self.domains);
        Box::pin(async move {
            for Troupe { supervisor, .. } in domains.into_iter().rev() {
                // A supervisor that is gone has nothing left to stop.
                let _ = supervisor.send(StopAll).await;
            }
        })
    }
}

impl Handler<GetGraph> for Registry {
    type Result = MessageResult<GetGraph>;

    fn handle(&mut self, _: GetGraph, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.graph.clone())
    }
}

/// A name that no other handler has, so that two of one type do not share their metrics.
fn unique_name(graph: &Graph, domain: &str, name: &str) -> String {
    let plain = format!("{domain}.{name}");
    let taken = |name: &str| graph.handlers.iter().any(|node| node.name == name);
    let numbered = (2..).map(|n| format!("{plain}#{n}"));
    // The names are endless.
    std::iter::once(plain.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(plain)
}
