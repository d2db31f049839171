//! What waits in a queue, in order: all in one line, or in a lane for each key of which one item at
//! a time is taken out.

use std::collections::{HashMap, VecDeque};

/// An item that may be kept in order with others of its key.
pub(crate) trait Keyed {
    fn key(&self) -> Option<&str>;
}

/// Waiting items. An item whose key is busy is not ready: it waits in the lane of its key until
/// [`release`](Self::release).
pub(crate) struct Lanes<T> {
    ready: VecDeque<Ticket<T>>,
    /// One lane for each busy key: an item of it is ready or in work. `None` when keys do not
    /// matter.
    busy: Option<HashMap<Box<str>, VecDeque<Ticket<T>>>>,
    /// Items in lanes.
    held: usize,
    next: u64,
}

/// An item and its place in the order of arrival.
struct Ticket<T> {
    number: u64,
    item: T,
}

impl<T: Keyed> Lanes<T> {
    pub(crate) fn new(ordered_by_key: bool) -> Self {
        let busy = ordered_by_key.then(HashMap::new);
        Self { ready: VecDeque::new(), busy, held: 0, next: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.held
    }

    pub(crate) fn push(&mut self, item: T) {
        let ticket = Ticket { number: self.next, item };
        self.next += 1;
        if let (Some(busy), Some(key)) = (&mut self.busy, ticket.item.key()) {
            if let Some(lane) = busy.get_mut(key) {
                lane.push_back(ticket);
                self.held += 1;
                return;
            }
            busy.insert(key.into(), VecDeque::new());
        }
        self.ready.push_back(ticket);
    }

    /// The next item whose key is free; the key is busy from now on.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.ready.pop_front().map(|ticket| ticket.item)
    }

    /// The work on an item of this key is over. Says whether another one became ready.
    pub(crate) fn release(&mut self, key: &str) -> bool {
        let Some(busy) = &mut self.busy else { return false };
        let next = busy.get_mut(key).and_then(VecDeque::pop_front);
        if let Some(next) = next {
            self.held -= 1;
            self.ready.push_back(next);
            true
        } else {
            busy.remove(key);
            false
        }
    }

    /// The item that came first of all that wait. Where keys matter it looks at all that is ready
    /// and at every busy key.
    pub(crate) fn oldest(&self) -> Option<&T> {
        let Some(busy) = &self.busy else { return self.ready.front().map(|ticket| &ticket.item) };
        let heads = busy.values().filter_map(VecDeque::front);
        let oldest = self.ready.iter().chain(heads).min_by_key(|ticket| ticket.number);
        oldest.map(|ticket| &ticket.item)
    }

    /// Takes out the item that came first of all that wait.
    ///
    /// Looks at all that is ready and at every busy key: it is asked for only by a full queue.
    pub(crate) fn pop_oldest(&mut self) -> Option<T> {
        // An item that was released stands behind younger ones of other keys.
        let place = if self.busy.is_some() {
            (0..self.ready.len()).min_by_key(|place| self.ready[*place].number)
        } else {
            Some(0)
        };
        let ready = place.and_then(|place| self.ready.get(place)).map(|ticket| ticket.number);
        let lanes = self.busy.iter_mut().flatten();
        let heads = lanes.filter_map(|(_, lane)| Some((lane.front()?.number, lane)));
        let oldest = heads.min_by_key(|(number, _)| *number);
        if let Some((number, lane)) = oldest
            && ready.is_none_or(|ready| number < ready)
        {
            self.held -= 1;
            return lane.pop_front().map(|ticket| ticket.item);
        }
        let item = self.ready.remove(place?)?.item;
        if let Some(key) = item.key() {
            self.release(key);
        }
        Some(item)
    }

    /// Everything that waits, in the order in which it came.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let mut tickets: Vec<_> = self.ready.drain(..).collect();
        tickets.extend(self.busy.iter_mut().flatten().flat_map(|(_, lane)| lane.drain(..)));
        self.held = 0;
        tickets.sort_by_key(|ticket| ticket.number);
        tickets.into_iter().map(|ticket| ticket.item).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A key and a number.
    type Item = (&'static str, u32);

    impl Keyed for Item {
        fn key(&self) -> Option<&str> {
            (self.0 != "-").then_some(self.0)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(&'static str),
        Take,
        Finish(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = prop::sample::select(vec!["a", "b", "c", "-"]);
        let step = prop_oneof![
            3 => key.prop_map(Step::Push),
            2 => Just(Step::Take),
            2 => (0..4_usize).prop_map(Step::Finish),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_key_is_taken_in_order_and_one_at_a_time(steps in steps()) {
            let mut lanes = Lanes::new(true);
            let mut in_work: Vec<Item> = Vec::new();
            let mut last: HashMap<&str, u32> = HashMap::new();
            let (mut pushed, mut taken) = (0, 0);
            let mut take = |lanes: &mut Lanes<Item>, in_work: &mut Vec<Item>| {
                let Some(item) = lanes.pop() else { return false };
                if item.0 != "-" {
                    assert!(in_work.iter().all(|other| other.0 != item.0), "{item:?} beside its key");
                    assert!(last.insert(item.0, item.1).is_none_or(|n| n < item.1), "{item:?} late");
                }
                in_work.push(item);
                true
            };
            for step in steps {
                match step {
                    Step::Push(key) => {
                        lanes.push((key, pushed));
                        pushed += 1;
                    }
                    Step::Take => taken += u32::from(take(&mut lanes, &mut in_work)),
                    Step::Finish(which) if which < in_work.len() => {
                        if let Some(key) = in_work.swap_remove(which).key() {
                            lanes.release(key);
                        }
                    }
                    Step::Finish(_) => {}
                }
                prop_assert_eq!(lanes.len(), (pushed - taken) as usize);
            }
            while lanes.len() > 0 || !in_work.is_empty() {
                let more = take(&mut lanes, &mut in_work);
                taken += u32::from(more);
                if !more {
                    let item = in_work.pop().expect("what waits waits for something in work");
                    item.key().map(|key| lanes.release(key));
                }
            }
            prop_assert_eq!(taken, pushed);
        }
    }

    #[test]
    fn the_oldest_is_found_in_lanes_too() {
        let mut lanes = Lanes::new(true);
        for item in [("a", 1), ("a", 2), ("b", 3)] {
            lanes.push(item);
        }
        assert_eq!(lanes.pop(), Some(("a", 1)));
        assert_eq!(lanes.pop_oldest(), Some(("a", 2)));
        assert_eq!(lanes.pop_oldest(), Some(("b", 3)));
        lanes.push(("b", 4));
        assert_eq!(lanes.pop(), Some(("b", 4)), "a dropped item does not keep its key");
    }

    #[test]
    fn without_keys_all_stand_in_one_line() {
        let mut lanes = Lanes::new(false);
        for item in [("a", 1), ("a", 2), ("b", 3)] {
            lanes.push(item);
        }
        let taken: Vec<_> = std::iter::from_fn(|| lanes.pop()).collect();
        assert_eq!(taken, [("a", 1), ("a", 2), ("b", 3)]);
    }
}
