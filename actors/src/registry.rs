//! The actor that owns the routing table: it seats handlers, unseats them, and publishes each new
//! table as an immutable snapshot.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, Message, MessageResult, ResponseFuture};

use crate::domain::Domain;
use crate::graph::{DomainNode, Graph, Index, Newcomers, Node, Outside, Unheard};
use crate::phase::Phase;
use crate::policy::{Instances, Policy, Rules};
use crate::router::Router;
use crate::seat::{Seat, SeatPlan};
use crate::start_error::{StartError, StartFault};
use crate::subscriber::{HandlerSpec, HireWith};
use crate::supervisor::{OnDown, Regime, StartChild, StopAll, StopChild, Supervisor};
use crate::wiring::Wiring;

mod names;
use names::Names;
mod shelf;
use shelf::Shelf;

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
    node: DomainNode,
    policy: Policy,
    supervisor: Addr<Supervisor>,
}

/// What would be if some domains were mounted.
#[derive(Default)]
struct Plan {
    /// The handlers that are new.
    nodes: Vec<Node>,
    hires: Vec<HireWith>,
    /// All domains, those without handlers too, with their policies.
    domains: Vec<(DomainNode, Policy)>,
    faults: Vec<StartFault>,
    /// The names of the new handlers.
    names: HashSet<Arc<str>>,
}

pub(crate) struct Registry {
    router: Arc<Router>,
    index: Index,
    domains: Vec<Troupe>,
    /// The places of the domains by name.
    places: HashMap<Arc<str>, usize>,
    /// What every domain's policy leaves open.
    policy: Policy,
    on_down: OnDown,
    names: Names,
    policies: Shelf<Policy>,
    rules: Shelf<(Arc<Policy>, Arc<Rules>)>,
    wirings: Shelf<Wiring>,
    next_id: u64,
    has_started: bool,
}

impl Registry {
    pub(crate) fn new(
        router: Arc<Router>,
        outside: Outside,
        policy: Policy,
        on_down: OnDown,
    ) -> Self {
        Self {
            router,
            index: Index::new(outside),
            domains: Vec::new(),
            places: HashMap::new(),
            policy,
            on_down,
            names: Names::default(),
            policies: Shelf::default(),
            rules: Shelf::default(),
            wirings: Shelf::default(),
            next_id: 1,
            has_started: false,
        }
    }

    fn known(&self, domain: &str) -> Option<&Troupe> {
        self.domains.get(*self.places.get(domain)?)
    }

    /// The domain at work, with a supervisor that is started when it is needed first.
    fn troupe(&mut self, node: DomainNode, policy: Policy) -> Troupe {
        if let Some(known) = self.known(&node.name) {
            return known.clone();
        }
        let (name, on_down) = (Arc::clone(&node.name), self.on_down.clone());
        let DomainNode { strategy, escalation, .. } = node;
        let regime = Regime { domain: Arc::clone(&name), strategy, escalation, on_down };
        let new = Troupe { node, policy, supervisor: Supervisor::new(regime).start() };
        self.places.insert(name, self.domains.len());
        self.domains.push(new.clone());
        new
    }

    /// What these domains would bring, with the policies merged.
    fn plan(&mut self, domains: Vec<Domain>) -> Plan {
        let mut plan = Plan::default();
        for domain in domains {
            let Domain { name, policy, strategy, escalation, handlers, .. } = domain;
            for reason in [policy.fault(), escalation.fault()].into_iter().flatten() {
                let owner = format!("domain `{name}`");
                plan.faults.push(StartFault::BadPolicy { owner, reason });
            }
            // A handler that comes later lives by the policy of its domain.
            let known = self.known(&name).map(|known| (known.node.clone(), known.policy.clone()));
            let new = || (DomainNode { name: name.as_str().into(), strategy, escalation }, policy);
            let (node, policy) = known.unwrap_or_else(new);
            for spec in handlers {
                self.plan_handler(spec, &node.name, &policy, &mut plan);
            }
            plan.domains.push((node, policy));
        }
        plan
    }

    fn plan_handler(
        &mut self,
        spec: HandlerSpec,
        domain: &Arc<str>,
        wider: &Policy,
        plan: &mut Plan,
    ) {
        let own_fault = spec.policy.fault();
        let mut policy = spec.policy.or(wider).or(&self.policy);
        if policy.concurrency.is_some() {
            // Who says how many at once means all of them.
            policy.instances.get_or_insert(Instances::One);
        }
        let policy = policy.or(&spec.form).or(&Policy::built_in());
        let table = self.router.table();
        let is_taken = |name: &str| plan.names.contains(name) || table.seat(name).is_some();
        let name = self.names.claim(format!("{domain}.{}", spec.name), is_taken);
        // Those of wider scopes are not the handler's.
        plan.faults.extend(own_fault.map(|reason| {
            let owner = name.clone();
            StartFault::BadPolicy { owner, reason }
        }));
        let name = Arc::<str>::from(name);
        plan.names.insert(Arc::clone(&name));
        plan.nodes.push(Node {
            name,
            domain: Arc::clone(domain),
            wiring: self.wirings.share(spec.wiring, Wiring::eq),
            policy: self.policies.share(policy, Policy::is_same),
        });
        plan.hires.push(spec.hire);
    }

    fn seat(&mut self, node: Node) -> Arc<Seat> {
        let id = self.next_id;
        self.next_id += 1;
        self.index.add(id, &node);
        let Node { name, domain, wiring, policy } = node;
        let rules = Arc::new(policy.rules());
        let settled = (Arc::clone(&policy), rules);
        let settled = self.rules.share(settled, |a, b| Arc::ptr_eq(&a.0, &b.0));
        let rules = Arc::clone(&settled.1);
        Arc::new(Seat::new(SeatPlan { id, handler: name, domain, wiring, policy, rules }))
    }
}

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<Mount> for Registry {
    type Result = ResponseFuture<Result<Vec<Arc<Seat>>, StartError>>;

    fn handle(&mut self, mount: Mount, _: &mut Context<Self>) -> Self::Result {
        let Mount { domains, unheard, dry_run } = mount;
        let Plan { nodes, hires, domains, mut faults, names } = self.plan(domains);
        let is_start = !self.has_started;
        faults.extend(Newcomers { nodes: &nodes, is_start, unheard }.faults(&self.index));
        if self.router.phase.get() != Phase::Running {
            faults.push(StartFault::Shutdown);
        }
        if dry_run || !faults.is_empty() {
            for name in &names {
                self.names.release(name);
            }
            return Box::pin(async { Err(StartError { faults }) });
        }
        self.has_started = true;

        // Also those without handlers: a handler that comes later lives by their policy.
        let troupes = domains.into_iter().map(|(node, policy)| {
            let troupe = self.troupe(node, policy);
            (troupe.node.name, troupe.supervisor)
        });
        let troupes: HashMap<_, _> = troupes.collect();
        let mut table = self.router.table().successor();
        let (mut seats, mut starts) = (Vec::new(), Vec::new());
        for (node, hire) in nodes.into_iter().zip(hires) {
            let supervisor = troupes[&node.domain].clone();
            let seat = self.seat(node);
            table.add(&seat);
            starts.push((supervisor, hire(Arc::clone(&self.router), Arc::clone(&seat))));
            seats.push(seat);
        }
        self.router.set_table(table);
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
        let Some(seat) = self.router.table().numbered(seat_id) else {
            return Box::pin(async {});
        };
        self.index.remove(seat_id, &Node::of(&seat));
        self.names.release(&seat.handler);
        let mut table = self.router.table().successor();
        table.remove(&seat);
        self.router.set_table(table);
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
        let domains = self.domains.iter().map(|troupe| troupe.node.clone()).collect();
        let table = self.router.table();
        let handlers = table.seats().iter().map(|seat| Node::of(seat)).collect();
        MessageResult(Graph { domains, handlers, outside: self.index.outside.clone() })
    }
}
