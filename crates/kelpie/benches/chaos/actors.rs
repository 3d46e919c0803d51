//! What the clients call.

use kelpie::{Result, Turn, View, actor, handlers};
use serde::{Deserialize, Serialize};

/// Counts.
#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    /// Adds and says the total.
    pub async fn add(&mut self, _: &mut Turn, n: i64) -> Result<i64> {
        self.total += n;
        Ok(self.total)
    }

    /// Says the total.
    pub async fn get(&self, _: &View) -> Result<i64> {
        Ok(self.total)
    }
}

/// Holds what was written last.
#[actor(name = "register", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Register {
    value: Option<u64>,
}

#[handlers]
impl Register {
    /// Replaces the value.
    pub async fn write(&mut self, _: &mut Turn, value: u64) -> Result<()> {
        self.value = Some(value);
        Ok(())
    }

    /// Says the value.
    pub async fn read(&self, _: &View) -> Result<Option<u64>> {
        Ok(self.value)
    }
}

/// Shows the wall clock of the node that it is on.
#[actor(name = "clock", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Clock {}

#[handlers]
impl Clock {
    /// Says what it shows, in milliseconds.
    pub async fn read(&self, view: &View) -> Result<u64> {
        Ok(view.now_ms())
    }
}
