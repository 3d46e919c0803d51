//! A public method that is not async.

use kelpie::{Result, Turn, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub fn add(&mut self, _: &mut Turn, n: i64) -> Result<i64> {
        self.total += n;
        Ok(self.total)
    }
}

fn main() {}
