//! The actors in a node's memory.
//!
//! Invariant: an actor has one activation at most, and each counts from before it claims
//! anything until it has been forgotten.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use kelpie_core::capacity::{Capacity, Full};
use kelpie_core::id::{ActorId, Seq};
use kelpie_core::ownership::Own;
use parking_lot::Mutex;

use crate::activation::Activation;

type Shard = Mutex<HashTable<Arc<Activation>>>;

/// Shards of the map of activations: two cores rarely meet at one lock. As many as a number has bits.
const SHARDS: usize = u64::BITS as usize;

/// A node's activations.
pub(crate) struct Residents {
    /// By actor; looked up, never walked through.
    shards: Vec<Shard>,
    /// A bit for each shard that holds any, changed under its lock: whoever walks through all, as a
    /// simulation does after every turn, passes the empty ones over.
    occupied: AtomicU64,
    /// Keys the hash, so that nobody can name actors that meet in one place.
    hash_seed: u128,
    capacity: Mutex<Capacity>,
}

impl Residents {
    /// None yet, and room for so many.
    pub(crate) fn new(hash_seed: u128, capacity: Option<u64>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (occupied, capacity) = (AtomicU64::new(0), Mutex::new(Capacity::new(capacity)));
        Self { shards, occupied, hash_seed, capacity }
    }

    /// The actor's activation, if it is in memory.
    pub(crate) fn get(&self, actor: &ActorId) -> Option<Arc<Activation>> {
        let hash = self.hash(actor);
        self.shards[shard_of(hash)].lock().find(hash, |known| known.actor == *actor).cloned()
    }

    /// Counts one more activation.
    pub(crate) fn enter(&self) -> Result<(), Full> {
        self.capacity.lock().enter()
    }

    /// The actor's activation, and whether it is the new one, which was counted before.
    pub(crate) fn add(&self, new: Activation) -> (Arc<Activation>, bool) {
        let hash = self.hash(&new.actor);
        let number = shard_of(hash);
        let mut shard = self.shards[number].lock();
        if let Some(activation) = shard.find(hash, |known| known.actor == new.actor) {
            // Somebody was quicker.
            self.capacity.lock().leave();
            return (activation.clone(), false);
        }
        let activation = Arc::new(new);
        shard.insert_unique(hash, activation.clone(), |known| self.hash(&known.actor));
        self.occupied.fetch_or(1 << number, Ordering::Relaxed);
        metrics::gauge!("kelpie_activations").increment(1.0);
        (activation, true)
    }

    /// Forgets an activation that is gone.
    pub(crate) fn forget(&self, activation: &Activation) {
        let hash = self.hash(&activation.actor);
        let number = shard_of(hash);
        let mut shard = self.shards[number].lock();
        let this = |known: &Arc<Activation>| std::ptr::eq(Arc::as_ptr(known), activation);
        if let Ok(known) = shard.find_entry(hash, this) {
            known.remove();
            if shard.is_empty() {
                self.occupied.fetch_and(!(1 << number), Ordering::Relaxed);
            }
            let came_to_nothing = || activation.state.lock().loaded.is_none();
            if !(kelpie_core::mutant!("lost_claim_stays_counted") && came_to_nothing()) {
                self.capacity.lock().leave();
            }
            metrics::gauge!("kelpie_activations").decrement(1.0);
        }
    }

    /// Drops all activations, whatever they are at.
    pub(crate) fn clear(&self) {
        for (number, shard) in self.shards.iter().enumerate() {
            let gone = {
                let mut shard = shard.lock();
                self.occupied.fetch_and(!(1 << number), Ordering::Relaxed);
                std::mem::take(&mut *shard)
            };
            // Not under the lock: what an activation takes with it may ask for another one.
            for _ in &gone {
                self.capacity.lock().leave();
                metrics::gauge!("kelpie_activations").decrement(1.0);
            }
        }
    }

    /// All activations, by their actors.
    pub(crate) fn each(&self) -> Vec<Arc<Activation>> {
        let mut all = Vec::new();
        for shard in self.occupied() {
            all.extend(shard.lock().iter().cloned());
        }
        // A table has its own order.
        all.sort_unstable_by(|a, b| a.actor.cmp(&b.actor));
        all
    }

    /// The actors that are loaded, with the owner record and the commit that each stands at.
    pub(crate) fn loaded(&self, see: &mut dyn FnMut(&ActorId, &Own, Seq)) {
        for shard in self.occupied() {
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
        self.occupied().map(|shard| shard.lock().len()).sum()
    }

    fn hash(&self, actor: &ActorId) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u128(self.hash_seed);
        hasher.write(actor.encoded());
        hasher.finish()
    }

    /// The shards that hold any.
    fn occupied(&self) -> impl Iterator<Item = &Shard> {
        let occupied = self.occupied.load(Ordering::Relaxed);
        self.shards
            .iter()
            .enumerate()
            .filter(move |(number, _)| occupied >> number & 1 == 1)
            .map(|(_, shard)| shard)
    }
}

/// The shard of an activation with that hash. A table looks at the lowest bits and at the highest:
/// these are others.
fn shard_of(hash: u64) -> usize {
    usize::try_from((hash >> 40) % SHARDS as u64).expect("few")
}
