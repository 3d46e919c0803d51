//! The world outside of the cluster: it keeps what was done to it, whatever dies inside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::agents::World;

/// What was done to the world, by the key under which it was asked for.
#[derive(Debug, Default)]
pub struct Outside {
    effects: Mutex<BTreeMap<String, Effect>>,
    prices: AtomicU64,
    /// The models and tools that agents ask.
    pub world: Arc<World>,
}

/// One effect on the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What was asked for.
    pub what: String,
    /// On which terms.
    pub terms: String,
    /// On which others it was asked for later, if it was.
    pub other_terms: Option<String>,
    /// How often it was asked for: it is done the first time only.
    pub asked: u32,
}

impl Outside {
    /// Asks for an effect. The world is idempotent: it does it once for each key.
    pub fn ask(&self, key: &str, what: &str, terms: &str) {
        let mut effects = self.effects.lock();
        let effect = effects.entry(key.to_owned()).or_insert_with(|| Effect {
            what: what.to_owned(),
            terms: terms.to_owned(),
            other_terms: None,
            asked: 0,
        });
        effect.asked += 1;
        if effect.terms != terms {
            effect.other_terms = Some(terms.to_owned());
        }
    }

    /// A price: no two are the same.
    pub fn price(&self) -> u64 {
        self.prices.fetch_add(1, Ordering::Relaxed)
    }

    /// All effects, by key.
    pub fn effects(&self) -> BTreeMap<String, Effect> {
        self.effects.lock().clone()
    }
}
