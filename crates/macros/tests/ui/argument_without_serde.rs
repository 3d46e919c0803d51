//! An argument that cannot travel.

use kelpie::{Result, Turn, actor, handlers};
use serde::{Deserialize, Serialize};

pub struct Amount(i64);

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn add(&mut self, _: &mut Turn, amount: Amount) -> Result<()> {
        self.total += amount.0;
        Ok(())
    }
}

fn main() {}
