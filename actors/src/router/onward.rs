//! What handlers put out, and what they decline, on its way to others: each of them gets it or a dead
//! letter.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::timeout;

use crate::chain::Parcel;
use crate::lane;
use crate::policy::Overflow;
use crate::router::{Origin, Rest, Router};
use crate::seat::Seat;
use crate::table::{Chosen, Table};

impl Router {
    /// Publishes what a handler put out, as far as nothing has to be waited for; gives back whom it
    /// did not reach. Handled in place only with `cx`.
    pub(crate) fn publish_onward_now(
        &self,
        mut parcel: Parcel,
        table: &Table,
        cx: Option<&mut Context<'_>>,
    ) -> Option<Rest> {
        let route = match self.admit(table, &parcel.envelope, Origin::Chain) {
            Ok(route) => route,
            Err(refused) => {
                self.bury_refused(&parcel, refused);
                return None;
            }
        };
        self.count_published(&parcel.envelope);
        let places = self.choose(route.as_deref().map(|route| &**route), &parcel);
        if let ([place], Some(cx)) = (&*places, cx) {
            match lane::handle(place.address(parcel), &place.seat, &self.phase, table, None, cx) {
                Ok(()) => return None,
                Err(back) => parcel = back,
            }
        }
        let mut full = Vec::new();
        for place in &*places {
            let copy = place.address(parcel.clone());
            // Refused only at shutdown, where each chain tells its requester when it is dropped.
            if let Some(copy) = self.offer(&place.seat, copy).unwrap_or_default() {
                full.push((Arc::clone(&place.seat), copy));
            }
        }
        (!full.is_empty()).then_some(Rest { full, reached: places.len() })
    }

    /// Publishes what a handler put out. Each subscriber gets it or a dead letter: a full queue is
    /// waited for, but no longer than a handler may take, or two handlers that feed each other
    /// could wait for ever.
    pub(crate) async fn publish_onward(&self, parcel: Parcel) {
        let rest = self.publish_onward_now(parcel, &self.table.load(), None);
        if let Some(rest) = rest {
            self.publish_onward_rest(rest).await;
        }
    }

    /// Waits for room where there was none, but not without end.
    pub(crate) async fn publish_onward_rest(&self, rest: Rest) {
        for (seat, parcel) in rest.full {
            self.wait_or_bury(&seat, parcel).await;
        }
    }

    /// Gives a declined event to the next handler in line; `false` when there is none.
    pub(crate) async fn pass_on(&self, parcel: &Parcel) -> bool {
        let (Some(route), Some(rank)) = (self.route(&parcel.envelope), parcel.rank) else {
            return false;
        };
        let Chosen { places, broken } = route.behind(rank, &parcel.envelope);
        for (seat, panic) in &broken {
            self.bury_unwanted(parcel, seat, panic);
        }
        for place in &*places {
            let copy = place.address(parcel.clone());
            // Refused only at shutdown, where each chain tells its requester when it is dropped.
            if let Some(copy) = self.offer(&place.seat, copy).unwrap_or_default() {
                self.wait_or_bury(&place.seat, copy).await;
            }
        }
        !places.is_empty() || !broken.is_empty()
    }

    /// Waits for room, but not without end: then the event is dead.
    async fn wait_or_bury(&self, seat: &Arc<Seat>, parcel: Parcel) {
        let patience = match seat.rules.overflow {
            Overflow::Reject => Duration::ZERO,
            _ => self.limits.room_timeout,
        };
        if timeout(patience, self.wait_and_put(seat, parcel.clone())).await.is_err() {
            self.bury_full(&parcel, seat);
        }
    }
}
