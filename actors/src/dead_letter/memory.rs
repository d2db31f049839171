//! Dead letters in memory: a bounded ring.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use crate::dead_letter::{DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetterStore, StoreFuture};

/// Keeps so many letters; the oldest makes room.
pub(crate) struct MemoryDeadLetters {
    letters: Mutex<Letters>,
    max: usize,
}

#[derive(Default)]
struct Letters {
    in_order: BTreeMap<u64, DeadLetter>,
    numbers: HashMap<DeadLetterId, u64>,
    next: u64,
}

impl MemoryDeadLetters {
    pub(crate) fn new(max: usize) -> Self {
        Self { letters: Mutex::default(), max }
    }
}

impl Letters {
    fn remove(&mut self, id: DeadLetterId) -> Option<DeadLetter> {
        self.numbers.remove(&id).and_then(|number| self.in_order.remove(&number))
    }
}

impl DeadLetterStore for MemoryDeadLetters {
    fn add(&self, letter: DeadLetter) -> Vec<DeadLetter> {
        if self.max == 0 {
            return vec![letter];
        }
        let mut letters = self.letters.lock();
        let mut evicted = Vec::new();
        while letters.in_order.len() >= self.max
            && let Some((_, oldest)) = letters.in_order.pop_first()
        {
            letters.numbers.remove(&oldest.id);
            evicted.push(oldest);
        }
        let number = letters.next;
        letters.next += 1;
        letters.numbers.insert(letter.id, number);
        letters.in_order.insert(number, letter);
        evicted
    }

    fn count(&self) -> usize {
        self.letters.lock().in_order.len()
    }

    fn list<'a>(&'a self, query: &'a DeadLetterQuery) -> StoreFuture<'a, Vec<DeadLetter>> {
        let letters = self.letters.lock();
        let matching = letters.in_order.values().filter(|letter| query.matches(letter));
        let matching = matching.take(query.limit).cloned().collect();
        Box::pin(async { Ok(matching) })
    }

    fn get(&self, id: DeadLetterId) -> StoreFuture<'_, Option<DeadLetter>> {
        let letters = self.letters.lock();
        let letter = letters.numbers.get(&id).and_then(|number| letters.in_order.get(number));
        let letter = letter.cloned();
        Box::pin(async { Ok(letter) })
    }

    fn update(&self, letter: DeadLetter) -> StoreFuture<'_, bool> {
        let mut letters = self.letters.lock();
        let number = letters.numbers.get(&letter.id).copied();
        let is_there = number.is_some_and(|number| {
            letters.in_order.insert(number, letter);
            true
        });
        Box::pin(async move { Ok(is_there) })
    }

    fn remove(&self, id: DeadLetterId) -> StoreFuture<'_, Option<DeadLetter>> {
        let letter = self.letters.lock().remove(id);
        Box::pin(async { Ok(letter) })
    }
}
