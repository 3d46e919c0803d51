//! An argument that is borrowed.

use kelpie::{Result, Turn, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn rename(&mut self, _: &mut Turn, name: &str) -> Result<usize> {
        Ok(name.len())
    }
}

fn main() {}
