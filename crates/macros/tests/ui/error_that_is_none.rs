//! An error that is no error of an actor.

use kelpie::{Result, Turn, actor, handlers};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub struct Full;

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn add(&mut self, _: &mut Turn) -> Result<i64, Full> {
        self.total += 1;
        Ok(self.total)
    }
}

fn main() {}
