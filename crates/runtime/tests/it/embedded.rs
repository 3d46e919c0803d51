//! The whole stack over the embedded store: a power cut at any disk operation, and each key
//! still has its effect once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kelpie_core::advice::Advice;
use kelpie_env::Env;
use kelpie_env::sim::{Node, Sim};
use kelpie_runtime::{Options, Runtime};
use kelpie_storage::config::EmbeddedOptions;
use kelpie_storage::{Store, StoreConfig};

use crate::actors::Counter;
use crate::world::{actor, bytes, call, call_with_key, number};

const KEYS: u64 = 24;
const ACTORS: u64 = 3;

async fn start(env: &Env) -> Runtime {
    // Small segments and checkpoints, so that a short run recycles the one and makes the
    // other.
    let options =
        EmbeddedOptions { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, cache_bytes: 1 << 20 };
    let config = StoreConfig::Embedded { dir: "/data".into(), options };
    let store = Store::open(&config, env).await.unwrap();
    Runtime::start(Options::alone("n1").unwrap(), env.clone(), store, Counter::all(env)).await.unwrap()
}

/// Adds one under each key, and notes what was acknowledged.
async fn add_all(runtime: &Runtime, acknowledged: &RefCell<BTreeMap<u64, u64>>) {
    join_all((0..KEYS).map(|key| async move {
        let counter = actor("counter", &format!("c{}", key % ACTORS));
        match call_with_key(runtime, &counter, "add", bytes(1), &format!("k{key}")).await {
            Ok(reply) => {
                acknowledged.borrow_mut().insert(key, reply);
            }
            Err(error) => assert!(matches!(error.advice(), Advice::NotRun | Advice::Unknown), "{error}"),
        }
    }))
    .await;
}

/// Replies that were acknowledged stay; every key has its effect exactly once.
async fn check(runtime: &Runtime, before: &BTreeMap<u64, u64>) -> bool {
    // First without any call that could make up for what was lost.
    if total(runtime).await < before.len() as u64 {
        return false;
    }
    for (key, reply) in before {
        let counter = actor("counter", &format!("c{}", key % ACTORS));
        let again = call_with_key(runtime, &counter, "add", bytes(1), &format!("k{key}")).await.unwrap();
        if again != *reply {
            return false;
        }
    }
    let after = RefCell::default();
    add_all(runtime, &after).await;
    after.borrow().len() as u64 == KEYS && total(runtime).await == KEYS
}

async fn total(runtime: &Runtime) -> u64 {
    let mut total = 0;
    for counter in 0..ACTORS {
        let stored = runtime.view(&actor("counter", &format!("c{counter}"))).get(b"total").await.unwrap();
        total += number(&stored.unwrap_or_default());
    }
    total
}

/// One life with a power cut at disk operation `cut_at` of the workload, and the next life.
/// `None`: the workload ended before.
fn cut_power(seed: u64, cut_at: u64) -> Option<bool> {
    let sim = Sim::new(seed);
    let node = sim.node("n1");
    sim.block_on(async {
        let env = node.env();
        let runtime = start(&env).await;
        let acknowledged = RefCell::<BTreeMap<u64, u64>>::default();
        node.disk().crash_at(node.disk().operations() + cut_at);
        let ended = node.while_alive(add_all(&runtime, &acknowledged)).await;
        if ended.is_some() && node.is_alive() {
            return None;
        }
        drop(runtime);
        let runtime = start(&restarted(&node)).await;
        Some(check(&runtime, &acknowledged.into_inner()).await)
    })
}

fn restarted(node: &Node) -> Env {
    node.disk().clear_crash();
    node.restart()
}

#[test]
fn sim_every_key_has_its_effect_once_after_a_power_cut_at_every_disk_operation() {
    let mut cuts = 0;
    for seed in 0..6 {
        for cut_at in 0.. {
            match cut_power(seed, cut_at) {
                Some(held) => assert!(held, "seed {seed}, cut at {cut_at}"),
                None => break,
            }
            cuts += 1;
        }
    }
    println!("{cuts} power cuts");
    assert!(cuts > 100, "{cuts} power cuts");
}

#[test]
fn sim_a_killed_process_loses_nothing_that_was_acknowledged() {
    for seed in 0..40 {
        let sim = Sim::new(seed);
        let node = sim.node("n1");
        sim.block_on(async {
            let acknowledged = Arc::new(std::sync::Mutex::new(0));
            for round in 0..6_u64 {
                let env = if node.is_alive() { node.env() } else { restarted(&node) };
                let work = async {
                    let runtime = start(&env).await;
                    let counter = actor("counter", "a");
                    for _ in 0..50 {
                        let total = call(&runtime, &counter, "add", bytes(1)).await.unwrap();
                        *acknowledged.lock().unwrap() = total;
                    }
                };
                let kill = async {
                    env.sleep(Duration::from_micros(500 + (seed * 7 + round) * 311 % 20_000)).await;
                    node.kill_process();
                };
                futures::join!(node.while_alive(work), kill);
            }
            let runtime = start(&restarted(&node)).await;
            let stored =
                runtime.view(&actor("counter", "a")).get(b"total").await.unwrap().unwrap_or_default();
            let acknowledged = *acknowledged.lock().unwrap();
            let total = number(&stored);
            // Each kill can have cut off one call after its commit and before its reply.
            assert!(
                (acknowledged..=acknowledged + 6).contains(&total),
                "seed {seed}: {acknowledged}, {total}"
            );
        });
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::cut_power;

    fn caught(name: &'static str) -> bool {
        let _armed = kelpie_core::mutant::arm(name);
        let finds =
            |seed, cut_at| std::panic::catch_unwind(|| cut_power(seed, cut_at)).unwrap_or(Some(false));
        (0..12).any(|seed| (0..).map_while(|cut_at| finds(seed, cut_at)).any(|held| !held))
    }

    #[test]
    fn sim_a_reply_before_its_commit_is_caught() {
        assert!(caught("reply_before_commit"));
    }

    #[test]
    fn sim_a_reply_recorded_outside_the_commit_is_caught() {
        assert!(caught("dedup_outside_commit"));
    }

    #[test]
    fn sim_a_commit_of_state_alone_is_caught() {
        assert!(caught("CommitTransaction_StateOnly"));
    }
}
