//! The rows by which runs settle lost answers: few, replaced when they are gone, cleared when
//! their process is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use kelpie_env::Env;
use kelpie_env::sim::Sim;
use kelpie_storage::keys::after_prefix;
use kelpie_storage::{Backend, Memory, RangeQuery, ReadError, RunError, Store};

use crate::conformance::lossy::Lossy;
use crate::conformance::shorthand::rows;

const PREFIX: &[u8] = b"\xfe/run/";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A store in memory that loses answers, and another process on it.
fn stores(env: &Env) -> (Store, Store) {
    let backend: Arc<dyn Backend> = Arc::new(Lossy::new(Arc::new(Memory::new(env.clone())), env.clone()));
    (Store::from_backend(backend.clone(), env.clone()), Store::from_backend(backend, env.clone()))
}

async fn effect(store: &Store, key: &str) -> Result<(), RunError<ReadError>> {
    store
        .run(|tx| {
            let key = Bytes::from(key.to_owned());
            async move {
                let times = tx.get(&key).await?.map_or(0, |value| value[0]);
                tx.set(key, vec![times + 1]);
                Ok(())
            }
            .boxed()
        })
        .await
}

async fn slots(store: &Store) -> Vec<Bytes> {
    marks(store).await.into_iter().map(|(slot, _)| slot).collect()
}

/// The slots and what is in them.
async fn marks(store: &Store) -> Vec<(Bytes, Bytes)> {
    let all = RangeQuery::new(PREFIX, after_prefix(PREFIX));
    store.begin().get_range(all).await.unwrap().rows.into_iter().collect()
}

async fn clear_slots(store: &Store) {
    let mut tx = store.begin();
    tx.clear_range(PREFIX, after_prefix(PREFIX));
    drop(tx.commit().await);
}

#[test]
fn runs_one_after_the_other_share_a_row() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let env = sim.node("store").env();
        sim.block_on(async {
            let (store, _) = stores(&env);
            for n in 0..100 {
                effect(&store, &format!("effect/{n}")).await.unwrap();
            }
            // One more for each answer that was lost while a row was made.
            assert!((1..=6).contains(&slots(&store).await.len()), "{:?}", slots(&store).await);
        });
    }
}

#[test]
fn a_run_that_only_reads_leaves_no_mark() {
    let sim = Sim::new(1);
    let env = sim.node("store").env();
    sim.block_on(async {
        let (store, _) = stores(&env);
        effect(&store, "effect").await.unwrap();
        let before = marks(&store).await;
        for _ in 0..50 {
            let read = store.run(|tx| async { tx.get(b"effect").await }.boxed()).await.unwrap();
            assert_eq!(read.unwrap(), [1][..]);
        }
        assert_eq!(marks(&store).await, before);
        effect(&store, "effect").await.unwrap();
        assert_ne!(marks(&store).await, before);
    });
}

#[test]
fn rows_that_are_cleared_under_a_run_double_nothing() {
    let (mut unknown, mut cleared) = (0, 0);
    for seed in 0..40 {
        let sim = Sim::new(seed);
        let env = sim.node("store").env();
        sim.block_on(async {
            let (store, other) = stores(&env);
            let (clearing, pause) = (other.clone(), env.clone());
            env.spawn("clearer", async move {
                loop {
                    pause.sleep(Duration::from_micros(pause.random_u64() % 3_000)).await;
                    clear_slots(&clearing).await;
                }
            });
            let mut ended = Vec::new();
            for n in 0..30 {
                ended.push(effect(&store, &format!("effect/{n:02}")).await);
                cleared += usize::from(slots(&store).await.is_empty());
            }
            env.sleep(Duration::from_millis(100)).await;
            let found = rows(&store, "effect/").await;
            for (n, ended) in ended.iter().enumerate() {
                let key = format!("effect/{n:02}");
                let times =
                    found.iter().find(|(found, _)| **found == *key.as_bytes()).map_or(0, |row| row.1[0]);
                let fits = match ended {
                    Ok(()) => times == 1,
                    Err(RunError::Unknown(_)) => times <= 1,
                    Err(other) => panic!("{other}"),
                };
                assert!(fits, "seed {seed}: effect {n} ended as {ended:?} and is there {times} times");
                unknown += usize::from(ended.is_err());
            }
        });
    }
    assert!(unknown > 0 && cleared > 0, "nothing was cleared at a bad moment: {unknown}, {cleared}");
}

#[test]
fn rows_of_processes_that_are_gone_go_after_a_day() {
    for (slept, left) in [(DAY - Duration::from_secs(60), true), (DAY + Duration::from_secs(60), false)] {
        // A process looks behind its own place only, which is drawn.
        let mut found = Vec::new();
        for seed in 0..20 {
            let sim = Sim::new(seed);
            let env = sim.node("store").env();
            sim.block_on(async {
                let memory: Arc<dyn Backend> = Arc::new(Memory::new(env.clone()));
                let process = || {
                    let lossy = Lossy::new(memory.clone(), env.clone());
                    Store::from_backend(Arc::new(lossy), env.clone())
                };
                effect(&process(), "effect/1").await.unwrap();
                let before = slots(&process()).await;
                env.sleep(slept).await;
                effect(&process(), "effect/2").await.unwrap();
                let after = slots(&process()).await;
                found.push(before.iter().all(|row| after.contains(row)));
                assert!(after.len() > before.len() || !left, "the new process has a row");
            });
        }
        if left {
            assert!(found.iter().all(|left| *left), "rows of less than a day were cleared");
        } else {
            assert!(found.iter().any(|left| !*left), "rows of more than a day are there for ever");
        }
    }
}
