//! The actors in a node's memory.
//!
//! Invariant: an actor has one activation at most, and each counts from before it claims
//! anything until it has been forgotten.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use hashbrown::HashTable;
use kelpie_core::capacity::{Capacity, Full};
use kelpie_core::id::{ActorId, Seq};
use kelpie_core::ownership::Own;
use parking_lot::Mutex;

use crate::activation::Activation;

/// Shards of the map of activations: two cores rarely meet at one lock.
const SHARDS: usize = 64;

/// A node's activations.
pub(crate) struct Residents {
    /// By actor; looked up, never walked through.
    shards: Vec<Mutex<HashTable<Arc<Activation>>>>,
    /// Keys the hash, so that nobody can name actors that meet in one place.
    hash_seed: u128,
    capacity: Mutex<Capacity>,
}

impl Residents {
    /// None yet, and room for so many.
    pub(crate) fn new(hash_seed: u128, capacity: Option<u64>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hash_seed, capacity: Mutex::new(Capacity::new(capacity)) }
    }

    /// The actor's activation, if it is in memory.
    pub(crate) fn get(&self, actor: &ActorId) -> Option<Arc<Activation>> {
        let hash = self.hash(actor);
        self.shard(hash).lock().find(hash, |known| known.actor == *actor).cloned()
    }

    /// Counts one more activation.
    pub(crate) fn enter(&self) -> Result<(), Full> {
        self.capacity.lock().enter()
    }

    /// The actor's activation, and whether it is the new one, which was counted before.
    pub(crate) fn add(&self, new: Activation) -> (Arc<Activation>, bool) {
        let hash = self.hash(&new.actor);
        let mut shard = self.shard(hash).lock();
        if let Some(activation) = shard.find(hash, |known| known.actor == new.actor) {
            // Somebody was quicker.
            self.capacity.lock().leave();
            return (activation.clone(), false);
        }
        let activation = Arc::new(new);
        shard.insert_unique(hash, activation.clone(), |known| self.hash(&known.actor));
        metrics::gauge!("kelpie_activations").increment(1.0);
        (activation, true)
    }

    /// Forgets an activation that is gone.
    pub(crate) fn forget(&self, activation: &Activation) {
        let hash = self.hash(&activation.actor);
        let mut shard = self.shard(hash).lock();
        let this = |known: &Arc<Activation>| std::ptr::eq(Arc::as_ptr(known), activation);
        if let Ok(known) = shard.find_entry(hash, this) {
            known.remove();
            let came_to_nothing = || activation.state.lock().loaded.is_none();
            if !(kelpie_core::mutant!("lost_claim_stays_counted") && came_to_nothing()) {
                self.capacity.lock().leave();
            }
            metrics::gauge!("kelpie_activations").decrement(1.0);
        }
    }

    /// Drops all activations, whatever they are at.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            // Not under the lock: what an activation takes with it may ask for another one.
            let gone = std::mem::take(&mut *shard.lock());
            for _ in &gone {
                self.capacity.lock().leave();
                metrics::gauge!("kelpie_activations").decrement(1.0);
            }
        }
    }

    /// All activations, by their actors.
    pub(crate) fn each(&self) -> Vec<Arc<Activation>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.lock().iter().cloned());
        }
        // A table has its own order.
        all.sort_unstable_by(|a, b| a.actor.cmp(&b.actor));
        all
    }

    /// The actors that are loaded, with the owner record and the commit that each stands at.
    pub(crate) fn loaded(&self, see: &mut dyn FnMut(&ActorId, &Own, Seq)) {
        for shard in &self.shards {
            for activation in &*shard.lock() {
                let state = activation.state.lock();
                if let Some(loaded) = state.loaded.as_ref().filter(|_| !state.is_gone()) {
                    see(&activation.actor, &loaded.own.own, loaded.head.get().seq);
                }
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn hash(&self, actor: &ActorId) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u128(self.hash_seed);
        hasher.write(actor.encoded());
        hasher.finish()
    }

    /// The activations among which one with that hash is. A table looks at the lowest bits and
    /// at the highest: these are others.
    fn shard(&self, hash: u64) -> &Mutex<HashTable<Arc<Activation>>> {
        let shard = usize::try_from((hash >> 40) % SHARDS as u64).expect("few");
        &self.shards[shard]
    }
}
