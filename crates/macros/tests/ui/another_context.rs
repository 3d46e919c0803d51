//! A context that is neither.

use kelpie::{Result, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn add(&mut self, _: &mut String, n: i64) -> Result<i64> {
        self.total += n;
        Ok(self.total)
    }
}

fn main() {}
