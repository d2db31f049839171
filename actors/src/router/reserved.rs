//! Rooms in several queues, taken before anything is put into one of them: all or none.

use crate::chain::Parcel;
use crate::error::PublishError;
use crate::queue::Room;
use crate::seat::Seat;
use crate::table::Place;

/// Room in the queue of each of these seats, or in none.
pub(super) fn reserve<'t>(
    places: impl Iterator<Item = &'t Place>,
    parcel: &Parcel,
) -> Result<Reserved<'t>, PublishError> {
    let mut rooms = Vec::new();
    for seat in places.map(|place| &place.seat).filter(|seat| seat.takes_events()) {
        let room = seat.queue.try_reserve().ok_or_else(|| PublishError::Full {
            event: parcel.envelope.name(),
            handler: seat.handler.to_string(),
            queue_max: seat.queue.max(),
        })?;
        rooms.push((seat.id, room));
    }
    rooms.reverse();
    Ok(Reserved(rooms))
}

/// Reserved rooms by seat, the next one last.
pub(super) struct Reserved<'t>(Vec<(u64, Room<'t, Parcel>)>);

impl<'t> Reserved<'t> {
    pub(super) fn pop_if_of(&mut self, seat: &Seat) -> Option<Room<'t, Parcel>> {
        let (id, _) = self.0.last()?;
        if *id == seat.id { self.0.pop().map(|(_, room)| room) } else { None }
    }
}
