//! A read that is to happen once: it changes nothing, so it needs no key.

use kelpie::{Result, View, actor, handlers};
use serde::{Deserialize, Serialize};

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn get(&self, _: &View) -> Result<i64> {
        Ok(self.total)
    }
}

async fn ask(cluster: kelpie::Cluster) {
    let total = cluster.actor::<Counter>("a").get().idempotent("req-7").await;
    println!("{total:?}");
}

fn main() {
    let _ = ask;
}
