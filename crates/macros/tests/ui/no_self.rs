//! A handler without `self`.

use kelpie::{Result, Turn, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn add(_: &mut Turn, n: i64) -> Result<i64> {
        Ok(n)
    }
}

fn main() {}
