//! A handler on a thread that has joined the runtime: an actor more, which handles in place what is
//! requested there. The queue stays at home.

use std::sync::{Arc, Weak};

use actix::{Actor, Addr, Context};
use tokio::sync::oneshot;

use crate::bell::Bell;
use crate::handler::Resident;
use crate::host::{Host, HostPlan, Site};
use crate::instance::Factory;
use crate::lane::OpenLane;
use crate::router::Router;
use crate::seat::{Branching, Seat};
use crate::supervisor::{AddBranch, Branch, Supervisor};
use crate::work::Feed;

/// What each branch is made from.
struct BranchPlan<A: Actor> {
    /// Weak, because the seat, which holds this, is held by the router.
    router: Weak<Router>,
    factory: Factory<A>,
    feeds: Arc<[Feed<A>]>,
    resident: fn(&A) -> Resident,
    supervisor: Addr<Supervisor>,
}

/// What opens branches; `None` for a handler that has to stay where it is.
pub(super) fn branching<A>(plan: &HostPlan<A>, supervisor: &Addr<Supervisor>) -> Option<Branching>
where
    A: Actor<Context = Context<A>>,
{
    let plan = BranchPlan {
        router: Arc::downgrade(&plan.router),
        factory: Arc::clone(&plan.factory),
        feeds: Arc::clone(&plan.feeds),
        resident: plan.resident.filter(|_| plan.seat.has_branches())?,
        supervisor: supervisor.clone(),
    };
    Some(Arc::new(move |seat| open(&plan, seat)))
}

/// Opens a branch on this thread. It works once its actor has started; until then events wait in the
/// queue.
fn open<A: Actor<Context = Context<A>>>(plan: &BranchPlan<A>, seat: &Arc<Seat>) {
    let Some(router) = plan.router.upgrade() else { return };
    let (bell, supervisor) = (Arc::<Bell>::default(), plan.supervisor.clone());
    let plan = HostPlan {
        router,
        seat: Arc::clone(seat),
        factory: Arc::clone(&plan.factory),
        feeds: Arc::clone(&plan.feeds),
        resident: Some(plan.resident),
    };
    let host = Host::new(plan, &supervisor, Arc::clone(&bell), Site::Branch);
    let lane = OpenLane::new(seat, host.work.clone());
    let (until, ended) = oneshot::channel();
    let add = AddBranch { seat_id: seat.id, branch: Branch { bell, ended } };
    actix_rt::spawn(async move {
        // Dropped with the branch, whatever ends it.
        let _until: oneshot::Sender<()> = until;
        if supervisor.send(add).await.is_ok_and(|is_known| is_known) {
            host.run_branch(lane).await;
        }
    });
}
