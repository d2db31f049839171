//! The latest events, for clients that come back: events enter in order and get their ids; those
//! after an id leave, or the finding that some of them are gone.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use callboard_actors::TraceId;

use super::wire::{self, EventId, Gap};

/// The latest events of one list, as they are sent.
#[derive(Default)]
pub(super) struct Replay {
    /// `None` until somebody listens: until then nobody can come back.
    life: Option<TraceId>,
    max: usize,
    /// The number of the latest event; the first one is 1.
    head: u64,
    kept: VecDeque<Kept>,
    /// By name, the latest event that is kept no more.
    gone: HashMap<&'static str, u64>,
}

/// An event that can be sent again.
pub(super) struct Kept {
    number: u64,
    pub(super) name: &'static str,
    pub(super) room: Option<Box<str>>,
    block: Bytes,
}

/// What came after an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Since {
    Blocks(Vec<Bytes>),
    Gap(Gap),
}

impl Replay {
    /// From now on events are kept, `max` of them; later calls change nothing.
    pub(super) fn begin(&mut self, max: usize, life: impl FnOnce() -> TraceId) {
        if self.life.is_none() {
            (self.life, self.max) = (Some(life()), max);
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.life.is_some()
    }

    /// The id of the latest event, once it has begun.
    pub(super) fn head(&self) -> Option<EventId> {
        Some(EventId { life: self.life?, number: self.head })
    }

    /// Keeps an event and gives its text; none before it has begun.
    pub(super) fn record(
        &mut self,
        name: &'static str,
        room: Option<&str>,
        data: &str,
    ) -> Option<Bytes> {
        let life = self.life?;
        self.head += 1;
        let block = wire::event(EventId { life, number: self.head }, name, data);
        if self.kept.len() >= self.max
            && let Some(oldest) = self.kept.pop_front()
        {
            self.gone.insert(oldest.name, oldest.number);
        }
        let (number, room) = (self.head, room.map(Into::into));
        self.kept.push_back(Kept { number, name, room, block: block.clone() });
        Some(block)
    }

    /// The events after the one of this id that `is_wanted`. There is a gap only if one of these
    /// names is gone; of its rooms nothing is known any more.
    pub(super) fn since(
        &self,
        id: &str,
        mut names: impl Iterator<Item = &'static str>,
        is_wanted: impl Fn(&Kept) -> bool,
    ) -> Since {
        let of_this_life =
            EventId::parse(id).filter(|id| Some(id.life) == self.life && id.number <= self.head);
        let Some(EventId { number: last, .. }) = of_this_life else {
            return Since::Gap(Gap::UnknownId);
        };
        if names.any(|name| self.gone.get(name).is_some_and(|gone| *gone > last)) {
            return Since::Gap(Gap::TooOld);
        }
        let after = self.kept.partition_point(|kept| kept.number <= last);
        let wanted = self.kept.range(after..).filter(|kept| is_wanted(kept));
        Since::Blocks(wanted.map(|kept| kept.block.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: &str = "0af7651916cd43dd8448eb211c80319c";

    /// A replay of three events at most.
    fn replay() -> Replay {
        let mut replay = Replay::default();
        assert_eq!(replay.record("a.b", None, "0"), None, "nobody has listened yet");
        replay.begin(3, || LIFE.parse().unwrap());
        replay.begin(9, || unreachable!());
        replay
    }

    /// The data of what came after the event with this number.
    fn since(replay: &Replay, last: u64, names: &[&'static str]) -> Result<Vec<String>, Gap> {
        let wanted = |kept: &Kept| names.contains(&kept.name) && kept.room.is_none();
        match replay.since(&format!("{LIFE}-{last}"), names.iter().copied(), wanted) {
            Since::Blocks(blocks) => Ok(blocks.iter().map(data).collect()),
            Since::Gap(gap) => Err(gap),
        }
    }

    fn data(block: &Bytes) -> String {
        let text = str::from_utf8(block).unwrap();
        let data = text.lines().find_map(|line| line.strip_prefix("data: "));
        data.unwrap().to_owned()
    }

    #[test]
    fn what_came_after_an_event_comes_again_once() {
        let mut replay = replay();
        for (name, data) in [("a.b", "1"), ("c.d", "2"), ("a.b", "3")] {
            replay.record(name, None, data).unwrap();
        }
        assert_eq!(since(&replay, 0, &["a.b", "c.d"]).unwrap(), ["1", "2", "3"]);
        assert_eq!(since(&replay, 1, &["a.b", "c.d"]).unwrap(), ["2", "3"]);
        assert_eq!(since(&replay, 1, &["a.b"]).unwrap(), ["3"]);
        assert_eq!(since(&replay, 3, &["a.b"]).unwrap(), [""; 0]);
        assert_eq!(replay.head().unwrap().number, 3);
        replay.record("a.b", Some("room"), "4").unwrap();
        assert_eq!(since(&replay, 3, &["a.b"]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_gone_is_a_gap_for_those_who_wanted_it() {
        let mut replay = replay();
        for (name, data) in [("a.b", "1"), ("c.d", "2"), ("c.d", "3"), ("c.d", "4"), ("c.d", "5")] {
            replay.record(name, None, data).unwrap();
        }
        assert_eq!(replay.kept.len(), 3);
        // 1 and 2 are gone.
        assert_eq!(since(&replay, 0, &["a.b"]), Err(Gap::TooOld));
        assert_eq!(since(&replay, 1, &["a.b"]).unwrap(), [""; 0]);
        assert_eq!(since(&replay, 1, &["a.b", "c.d"]), Err(Gap::TooOld));
        assert_eq!(since(&replay, 2, &["a.b", "c.d"]).unwrap(), ["3", "4", "5"]);
    }

    #[test]
    fn an_id_that_was_never_given_is_a_gap() {
        let mut replay = replay();
        replay.record("a.b", None, "1").unwrap();
        assert_eq!(since(&replay, 2, &["a.b"]), Err(Gap::UnknownId));
        let foreign = format!("{}-1", LIFE.replace('0', "1"));
        for id in ["", "1", &foreign] {
            let since = replay.since(id, ["a.b"].into_iter(), |_| true);
            assert_eq!(since, Since::Gap(Gap::UnknownId), "{id}");
        }
    }
}
