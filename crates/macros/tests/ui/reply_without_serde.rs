//! A reply that cannot travel.

use kelpie::{Result, View, actor, handlers};
use serde::{Deserialize, Serialize};

pub struct Total(i64);

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn get(&self, _: &View) -> Result<Total> {
        Ok(Total(self.total))
    }
}

fn main() {}
