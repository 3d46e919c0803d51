//! Power cuts at every operation of the disk under an agent over the embedded store: what was
//! answered stays, no call is without its result, each effect happens once per key.

use std::path::PathBuf;
use std::time::Duration;

use kelpie_agent::error::AgentError;
use kelpie_agent::query::SendOptions;
use kelpie_agent::record::AgentRecord;
use kelpie_agent::service::Agents;
use kelpie_storage::{EmbeddedOptions, Store, StoreConfig};
use parking_lot::Mutex;

use crate::crash::{Answers, check, text};
use crate::world::{World, key, say, scope, try_create};

/// Numbers of the messages: each kind of `text` once.
const LAST: u32 = 3;

/// Checkpoints and new segments every few turns.
async fn open(world: &World) -> Option<Store> {
    let options =
        EmbeddedOptions { segment_bytes: 16 << 10, checkpoint_bytes: 12 << 10, cache_bytes: 1 << 20 };
    let config = StoreConfig::Embedded { dir: PathBuf::from("data"), options };
    match Store::open(&config, &world.node.env()).await {
        Ok(store) => Some(store),
        Err(error) => lost(world, &error).await,
    }
}

/// An error of the node that has just lost its power is heard by nobody.
async fn lost<T>(world: &World, error: &dyn std::fmt::Debug) -> T {
    assert!(!world.node.is_alive(), "{error:?}");
    std::future::pending().await
}

async fn agents(world: &World) -> Agents {
    let store = open(world).await.expect("alive");
    match world.start_over(store).await {
        Ok(agents) => agents,
        Err(error) => lost(world, &error).await,
    }
}

async fn created(world: &World, agents: &Agents) -> AgentRecord {
    loop {
        match try_create(agents, "a").await {
            Ok(agent) => return agent,
            Err(error) => again(world, error).await,
        }
    }
}

/// Waits a moment after what may be asked again.
async fn again(world: &World, error: AgentError) {
    let passing =
        matches!(error, AgentError::NotRun { .. } | AgentError::Unknown { .. } | AgentError::Busy { .. });
    if !passing || !world.node.is_alive() {
        return lost(world, &error).await;
    }
    world.node.env().sleep(Duration::from_millis(1)).await;
}

/// One client: it makes the agent and sends each message until it is answered.
async fn converse(world: &World, answers: &Mutex<Answers>) -> (Agents, String) {
    let agents = agents(world).await;
    let agent = created(world, &agents).await.id;
    for number in 0..=LAST {
        let name = key(format!("message {number}"));
        let result = loop {
            let options = SendOptions::default();
            match agents.send(&scope(), &agent, Some(&name), say(&text(number)), options).await {
                Ok(result) => break result,
                Err(error) => again(world, error).await,
            }
        };
        if let Some(before) = answers.lock().insert(text(number), result.clone()) {
            assert_eq!(before, result, "another answer to message {number}");
        }
    }
    (agents, agent)
}

/// Cuts the power at that operation and, in the next life, `again` operations later; says
/// whether the first cut came before the end.
fn cut(seed: u64, at: u64, again: u64) -> bool {
    let world =
        World { thinks: Duration::from_millis(5), takes: Duration::from_millis(5), ..World::new(seed) };
    let answers = Mutex::default();
    let (disk, mut cuts) = (world.node.disk(), 0);
    for crash in [Some(at), Some(again), None] {
        match crash {
            Some(later) => disk.crash_at(disk.operations() + later),
            None => drop(disk.clear_crash()),
        }
        let life = world.node.while_alive(converse(&world, &answers));
        let ended = world.sim.block_on(async {
            let (agents, agent) = life.await?;
            let answers = answers.lock().clone();
            // The retries of the check must be served: no more cuts.
            disk.clear_crash();
            check(&world, &agents, &agent, &answers, LAST).await;
            Some(())
        });
        if ended.is_some() {
            assert!(world.sim.take_panics().is_empty(), "seed {seed}, cut at {at}, then {again}");
            return cuts > 0;
        }
        cuts += 1;
        world.node.kill();
        world.node.restart();
    }
    unreachable!("the last life is not cut")
}

#[test]
fn nothing_is_lost_or_repeated_by_a_power_cut_at_any_operation() {
    let seeds =
        if std::env::var_os("KELPIE_TEST_FULL").is_some_and(|full| full != "0") { 0..8 } else { 0..1 };
    let mut points = 0;
    for seed in seeds {
        points += (1..).take_while(|at| cut(seed, *at, 1 + at * 7 % 90)).count();
    }
    println!("{points} power cuts");
    assert!(points > 100, "{points}");
}

/// A start that leaves out the last record of its log is seen by who was answered.
#[cfg(feature = "mutants")]
#[test]
fn a_partial_replay_is_caught() {
    let _armed = kelpie_core::mutant::arm("CompleteRecovery_Partial");
    let test = nothing_is_lost_or_repeated_by_a_power_cut_at_any_operation;
    let panic = std::panic::catch_unwind(test).expect_err("the seeded bug was not noticed");
    let words = panic.downcast_ref::<String>().expect("words");
    let deserved = ["each message is there once", "another answer", "the same answer", "called twice"];
    assert!(deserved.iter().any(|deserved| words.contains(deserved)), "{words}");
}
