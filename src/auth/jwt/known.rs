//! Tokens that were verified: a token comes again, and whom it belongs to is known. To verify a
//! signature takes longer than all the rest of a small request.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::auth::Authenticated;

/// So many tokens at most, each until it expires. It keeps digests, which nobody can log in with.
pub(super) struct Known {
    max: usize,
    generations: Mutex<Generations>,
}

/// Who was asked for lately, and before. When the young ones are as many as there may be of a
/// generation, the old ones are forgotten: so nothing is ever sorted or searched.
#[derive(Default)]
struct Generations {
    young: HashMap<TokenDigest, Arc<Authenticated>>,
    old: HashMap<TokenDigest, Arc<Authenticated>>,
}

type TokenDigest = [u8; 32];

impl Known {
    /// Keeps `max` tokens; 0 for none.
    pub(super) fn new(max: usize) -> Self {
        Self { max, generations: Mutex::default() }
    }

    /// As empty as it was when it was new.
    pub(super) fn renewed(&self) -> Self {
        Self::new(self.max)
    }

    /// Whom the token belongs to; as `find` finds out, unless that is known and still holds.
    pub(super) fn get_or_find<E>(
        &self,
        token: &str,
        find: impl FnOnce() -> Result<Authenticated, E>,
    ) -> Result<Authenticated, E> {
        if self.max == 0 {
            return find();
        }
        let (digest, now) = (Sha256::digest(token).into(), SystemTime::now());
        let known = self.generations.lock().get(&digest, self.max);
        let holds = |known: &Authenticated| known.expires_at.is_some_and(|end| now < end);
        if let Some(known) = known.filter(|known| holds(known)) {
            return Ok(known.as_ref().clone());
        }
        let found = find()?;
        if holds(&found) {
            self.generations.lock().put(digest, Arc::new(found.clone()), self.max);
        }
        Ok(found)
    }
}

impl Generations {
    fn get(&mut self, digest: &TokenDigest, max: usize) -> Option<Arc<Authenticated>> {
        if let Some(known) = self.young.get(digest) {
            return Some(Arc::clone(known));
        }
        let known = self.old.remove(digest)?;
        self.put(*digest, Arc::clone(&known), max);
        Some(known)
    }

    fn put(&mut self, digest: TokenDigest, known: Arc<Authenticated>, max: usize) {
        if self.young.len() >= max.div_ceil(2) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(digest, known);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use callboard_actors::Identity;

    use super::*;

    /// Says whether the token had to be verified.
    fn is_new(known: &Known, token: &str, lifetime: Duration) -> bool {
        let is_new = Cell::new(false);
        let found = known.get_or_find(token, || {
            is_new.set(true);
            let identity = Authenticated::from(Identity::new(token));
            Ok::<_, ()>(identity.until(SystemTime::now() + lifetime))
        });
        assert_eq!(found.unwrap().identity.subject, token);
        is_new.get()
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_token_is_verified_once_while_it_holds() {
        let known = Known::new(4);
        assert!(is_new(&known, "ada", HOUR) && !is_new(&known, "ada", HOUR));
        assert!(is_new(&known, "bob", HOUR) && !is_new(&known, "bob", HOUR));
        assert!(is_new(&known, "eve", Duration::ZERO) && is_new(&known, "eve", Duration::ZERO));
        assert!(is_new(&known.renewed(), "ada", HOUR));
        let none = Known::new(0);
        assert!(is_new(&none, "ada", HOUR) && is_new(&none, "ada", HOUR));
        let refused = known.get_or_find("mallory", || Err("no"));
        assert_eq!(refused.unwrap_err(), "no");
        assert!(is_new(&known, "mallory", HOUR), "a refusal is not kept");
    }

    #[test]
    fn those_asked_for_stay_and_the_others_make_room() {
        let known = Known::new(4);
        for stranger in 0..100 {
            assert_eq!(is_new(&known, "ada", HOUR), stranger == 0, "{stranger}");
            assert!(is_new(&known, &format!("stranger {stranger}"), HOUR));
            let generations = known.generations.lock();
            assert!(generations.young.len() + generations.old.len() <= 4);
        }
        assert!(is_new(&known, "stranger 1", HOUR));
    }
}
