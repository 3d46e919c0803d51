//! A new version that says nothing of the old one.

use kelpie::{Result, Turn, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 2)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn add(&mut self, _: &mut Turn, n: i64) -> Result<i64> {
        self.total += n;
        Ok(self.total)
    }
}

fn main() {}
