//! Two handlers with one name.

use kelpie::{Result, Turn, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
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

    #[handler(name = "add")]
    pub async fn add_again(&mut self, _: &mut Turn) -> Result<i64> {
        Ok(self.total)
    }
}

fn main() {}
