//! A read as a message: nobody would see its answer.

use kelpie::{Result, Turn, View, actor, handlers, to};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn tell(&mut self, cx: &mut Turn) -> Result<()> {
        cx.send(to::<Self>("other").get())?;
        Ok(())
    }

    pub async fn get(&self, _: &View) -> Result<i64> {
        Ok(self.total)
    }
}

fn main() {}
