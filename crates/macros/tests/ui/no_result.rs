//! A handler that returns no result.

use kelpie::{View, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn get(&self, _: &View) -> i64 {
        self.total
    }
}

fn main() {}
