//! A handler that changes, with the view of one that reads.

use kelpie::{Result, View, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn add(&mut self, _: &View, n: i64) -> Result<i64> {
        self.total += n;
        Ok(self.total)
    }
}

fn main() {}
