//! Names that no two handlers share, so that two of one type do not share their metrics.

use std::collections::{BTreeSet, HashMap};

/// The first number behind a name that is taken already.
const FIRST: u32 = 2;

/// The numbers that were given to handlers of one name.
#[derive(Default)]
pub(crate) struct Names(HashMap<String, Numbers>);

struct Numbers {
    /// Below `next`, and not in use any more.
    free: BTreeSet<u32>,
    next: u32,
}

impl Names {
    /// `plain`, or with the lowest number that makes it a name of its own.
    pub(crate) fn claim(&mut self, plain: String, is_taken: impl Fn(&str) -> bool) -> String {
        if !is_taken(&plain) {
            return plain;
        }
        let new = || Numbers { free: BTreeSet::new(), next: FIRST };
        let numbers = self.0.entry(plain.clone()).or_insert_with(new);
        loop {
            let number = numbers.free.pop_first().unwrap_or(numbers.next);
            numbers.next = numbers.next.max(number + 1);
            let name = format!("{plain}#{number}");
            if !is_taken(&name) {
                return name;
            }
        }
    }

    /// The name is not in use any more.
    pub(crate) fn release(&mut self, name: &str) {
        let Some((plain, number)) = name.rsplit_once('#') else { return };
        let (Some(numbers), Ok(number)) = (self.0.get_mut(plain), number.parse()) else { return };
        if (FIRST..numbers.next).contains(&number) {
            numbers.free.insert(number);
        }
        let used = (FIRST..numbers.next).len() - numbers.free.len();
        if used == 0 {
            self.0.remove(plain);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_lowest_free_number_is_given() {
        let (mut names, mut taken) = (Names::default(), HashSet::new());
        let claim = |names: &mut Names, taken: &mut HashSet<String>| {
            let name = names.claim("a.B".into(), |name| taken.contains(name));
            assert!(taken.insert(name.clone()), "{name} is taken");
            name
        };
        let first: Vec<_> = (0..4).map(|_| claim(&mut names, &mut taken)).collect();
        assert_eq!(first, ["a.B", "a.B#2", "a.B#3", "a.B#4"]);
        for name in ["a.B#3", "a.B", "a.B#2"] {
            taken.remove(name);
            names.release(name);
        }
        let again: Vec<_> = (0..4).map(|_| claim(&mut names, &mut taken)).collect();
        assert_eq!(again, ["a.B", "a.B#2", "a.B#3", "a.B#5"]);
    }

    #[test]
    fn a_number_that_somebody_has_by_name_is_passed_over() {
        let mut names = Names::default();
        let taken = |name: &str| matches!(name, "a.B" | "a.B#2");
        assert_eq!(names.claim("a.B".into(), taken), "a.B#3");
        names.release("a.B#2");
        names.release("a.B#3");
        assert!(names.0.is_empty(), "nothing is kept of names that are gone");
    }
}
