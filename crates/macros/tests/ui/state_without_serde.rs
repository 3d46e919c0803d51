//! State that cannot be stored.

use kelpie::{Result, Turn, actor, handlers};
use serde::Serialize;

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize)]
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
