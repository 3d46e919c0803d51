//! A handler that reads, with the turn of one that changes.

use kelpie::{Result, Turn, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn get(&self, _: &mut Turn) -> Result<i64> {
        Ok(self.total)
    }
}

fn main() {}
