//! A durable counter: the smallest actor.

use kelpie::{Result, Turn, View, actor, handlers, refuse};
use serde::{Deserialize, Serialize};

/// Counts. Each has a name of its own, and always exists.
#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    /// Adds to the total and returns it.
    pub async fn add(&mut self, _: &mut Turn, n: i64) -> Result<i64> {
        self.total = self
            .total
            .checked_add(n)
            .ok_or_else(|| refuse("counter.overflow", "the total would be too large"))?;
        Ok(self.total)
    }

    /// The total.
    pub async fn get(&self, _: &View) -> Result<i64> {
        Ok(self.total)
    }
}
