//! A state that no new actor could begin with.

use kelpie::{Result, View, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
#[derive(Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn get(&self, _: &View) -> Result<i64> {
        Ok(self.total)
    }
}

fn main() {}
