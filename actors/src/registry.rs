//! The actor that owns the routing table: it seats handlers, unseats them, and publishes each new
//! table as an immutable snapshot.

use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, Message, MessageResult, ResponseFuture};

use crate::graph::{Graph, Node, Unheard};
use crate::phase::Phase;
use crate::router::Router;
use crate::start_error::{StartError, StartFault};
use crate::subscriber::HandlerSpec;
use crate::supervisor::{StartChild, StopAll, StopChild, Supervisor};
use crate::table::{Seat, SeatPlan, Table};

/// Seats the handlers of some domains, all or none.
pub(crate) struct Mount {
    pub(crate) domains: Vec<(String, Vec<HandlerSpec>)>,
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

pub(crate) struct Registry {
    router: Arc<Router>,
    graph: Graph,
    seats: Vec<Arc<Seat>>,
    domains: Vec<(Arc<str>, Addr<Supervisor>)>,
    next_id: u64,
}

impl Registry {
    /// `graph` holds what is known of the outside, and no handlers yet.
    pub(crate) fn new(router: Arc<Router>, graph: Graph) -> Self {
        Self { router, graph, seats: Vec::new(), domains: Vec::new(), next_id: 1 }
    }

    fn supervisor(&mut self, domain: &str) -> (Arc<str>, Addr<Supervisor>) {
        if let Some(known) = self.domains.iter().find(|(name, _)| **name == *domain) {
            return known.clone();
        }
        let new = (Arc::from(domain), Supervisor::new().start());
        self.domains.push(new.clone());
        new
    }

    fn seat(&mut self, node: &Node, domain: &Arc<str>) -> Arc<Seat> {
        let id = self.next_id;
        self.next_id += 1;
        let seat = Arc::new(Seat::new(SeatPlan {
            id,
            handler: node.name.as_str().into(),
            domain: Arc::clone(domain),
            inputs: node.inputs.clone(),
            outputs: node.outputs.clone(),
            queue_max: node.policy.queue_max.unwrap_or(self.router.limits.queue_max),
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
        let mut graph = self.graph.clone();
        let mut specs = Vec::new();
        for (domain, handlers) in domains {
            for spec in handlers {
                let name = unique_name(&graph, &domain, &spec.name);
                graph.handlers.push(Node {
                    name,
                    domain: domain.clone(),
                    inputs: spec.inputs,
                    outputs: spec.outputs,
                    error_facts: spec.error_facts,
                    policy: spec.policy,
                });
                specs.push(spec.hire);
            }
        }
        let mut faults = graph.faults(unheard);
        if self.router.phase.get() != Phase::Running {
            faults.push(StartFault::Shutdown);
        }
        if dry_run || !faults.is_empty() {
            return Box::pin(async { Err(StartError { faults }) });
        }

        let new = graph.handlers.split_off(self.graph.handlers.len());
        let mut seats = Vec::new();
        let mut hires = Vec::new();
        for (node, hire) in new.iter().zip(specs) {
            let (domain, supervisor) = self.supervisor(&node.domain);
            let seat = self.seat(node, &domain);
            hires.push((supervisor, hire(Arc::clone(&self.router), Arc::clone(&seat))));
            seats.push(seat);
        }
        self.graph.handlers.extend(new);
        self.publish_table();
        Box::pin(async move {
            for (supervisor, hire) in hires {
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
        let (_, supervisor) = self.supervisor(&seat.domain);
        Box::pin(async move {
            // A supervisor that is gone has stopped the handler.
            let _ = supervisor.send(StopChild { seat_id }).await;
        })
    }
}

impl Handler<StopDomains> for Registry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopDomains, _: &mut Context<Self>) -> Self::Result {
        let domains = std::mem::take(&mut self.domains);
        Box::pin(async move {
            for (_, supervisor) in domains.into_iter().rev() {
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
