//! Who owned an actor when one last heard of it.
//!
//! Invariant: a record never replaces one of a later epoch. The cache is bounded; what it
//! forgets is read again from the store.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::id::{ActorId, Boot};
use crate::ownership::Own;

/// Owners of actors. Owned by one lock.
#[derive(Debug, Clone)]
pub struct OwnerCache {
    entries_max: usize,
    owners: BTreeMap<ActorId, Own>,
    /// Behind this one the next entry is forgotten when there is no room.
    hand: Option<ActorId>,
}

impl OwnerCache {
    /// An empty cache of at most so many actors.
    ///
    /// # Panics
    /// When that is none.
    pub fn new(entries_max: usize) -> Self {
        assert!(entries_max > 0, "a cache has room");
        Self { entries_max, owners: BTreeMap::new(), hand: None }
    }

    /// Who owns an actor, as far as is known.
    pub fn get(&self, actor: &ActorId) -> Option<&Own> {
        self.owners.get(actor)
    }

    /// Takes in a record; says whether it is news.
    pub fn learn(&mut self, actor: &ActorId, own: &Own) -> bool {
        if let Some(known) = self.owners.get_mut(actor) {
            let is_later = own.epoch > known.epoch || (crate::mutant!("cache_unordered") && own != known);
            if is_later {
                *known = own.clone();
            }
            return is_later;
        }
        if self.owners.len() >= self.entries_max {
            self.make_room();
        }
        self.owners.insert(actor.clone(), own.clone());
        true
    }

    /// Forgets a record that has proved wrong, unless a later one is known by now.
    pub fn forget(&mut self, actor: &ActorId, wrong: &Own) {
        if self.owners.get(actor).is_some_and(|known| known.epoch <= wrong.epoch) {
            self.owners.remove(actor);
        }
    }

    /// Forgets all that a process owned that is gone.
    pub fn forget_process(&mut self, boot: Boot) {
        self.owners.retain(|_, own| own.boot != boot);
    }

    /// How many actors it knows of.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Whether it knows of none.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    fn make_room(&mut self) {
        let behind = self.hand.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.owners.range((behind, Bound::Unbounded)).next().or_else(|| self.owners.iter().next());
        if let Some(actor) = next.map(|(actor, _)| actor.clone()) {
            self.owners.remove(&actor);
            self.hand = Some(actor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Epoch, Incarnation, NodeId};

    fn actor(number: u32) -> ActorId {
        ActorId::new("t", "a", &format!("{number:05}")).unwrap()
    }

    fn own(boot: u128, epoch: u64) -> Own {
        Own {
            node: NodeId::new("n").unwrap(),
            incarnation: Incarnation(1),
            boot: Boot(boot),
            epoch: Epoch(epoch),
        }
    }

    #[test]
    fn a_lower_epoch_never_replaces_a_higher_one() {
        let mut cache = OwnerCache::new(10);
        assert!(cache.learn(&actor(1), &own(1, 4)));
        assert!(!cache.learn(&actor(1), &own(2, 3)), "late news");
        assert!(!cache.learn(&actor(1), &own(1, 4)), "no news");
        assert_eq!(cache.get(&actor(1)), Some(&own(1, 4)));
        assert!(cache.learn(&actor(1), &own(2, 5)));
        cache.forget(&actor(1), &own(1, 4));
        assert_eq!(cache.get(&actor(1)), Some(&own(2, 5)), "what proved wrong was replaced before");
        cache.forget(&actor(1), &own(2, 5));
        assert!(cache.is_empty());
    }

    #[test]
    fn it_is_bounded_and_forgets_a_process() {
        let mut cache = OwnerCache::new(100);
        for number in 0..1_000 {
            cache.learn(&actor(number), &own(u128::from(number % 2), 1));
            assert!(cache.len() <= 100);
            assert!(cache.get(&actor(number)).is_some(), "the last one stays");
        }
        cache.forget_process(Boot(1));
        assert!((0..1_000).all(|number| cache.get(&actor(number)).is_none_or(|own| own.boot == Boot(0))));
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_cache_without_order_is_caught() {
        let _armed = crate::mutant::arm("cache_unordered");
        std::panic::catch_unwind(a_lower_epoch_never_replaces_a_higher_one).unwrap_err();
    }
}
