//! `Store::run`: each effect once, whatever becomes of the answers, and an end in any case.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_storage::{AtomicOp, CommitError, LimitError, ReadError, RunError, Store, Transaction};

use super::shorthand::{le, number, put, rows, value};
use super::world::{World, pause};

pub(crate) async fn unknown_outcomes_are_settled_exactly_once(world: &World) {
    let store = world.open_lossy().await;
    let wrong = lose_answers(world, &store).await;
    assert!(wrong.is_empty(), "effects that did not happen exactly once: {wrong:?}");
}

/// Runs effects over a connection that loses answers: those that did not happen once.
pub(crate) async fn lose_answers(world: &World, store: &Store) -> Vec<(Bytes, u64)> {
    let (clients, each) = (6, world.times(20, 10));
    let works = (0..clients).map(|client| {
        let (store, env) = (store.clone(), world.env.clone());
        async move {
            for n in 0..each {
                let effect = Bytes::from(format!("effect/{client}/{n:02}"));
                store.run(|tx| add(tx, effect.clone(), n % 2 == 0)).await.unwrap();
                pause(&env).await;
            }
        }
    });
    world.at_once(works).await;
    // What was lost on the way may land for so long.
    world.env.sleep(Duration::from_millis(100)).await;
    let effects = rows(store, "effect/").await;
    assert_eq!(effects.len(), clients * each);
    let total = number(value(store, b"total").await.as_ref());
    let wrong = effects.into_iter().map(|(key, count)| (key, number(Some(&count))));
    let mut wrong: Vec<_> = wrong.filter(|(_, count)| *count != 1).collect();
    if total != (clients * each) as u64 {
        wrong.push(("total".into(), total));
    }
    wrong
}

/// An effect that can be seen twice. Some depend on what others write.
fn add(tx: &mut Transaction, effect: Bytes, reads: bool) -> BoxFuture<'_, Result<(), ReadError>> {
    async move {
        if reads {
            let total = number(tx.get(b"total").await?.as_ref());
            tx.set("total", le(total + 1));
        } else {
            tx.atomic(AtomicOp::Add, "total", le(1));
        }
        tx.atomic(AtomicOp::Add, effect, le(1));
        Ok(())
    }
    .boxed()
}

pub(crate) async fn a_run_ends_at_its_bound_and_says_so(world: &World) {
    let store = world.open().await;
    let tried = Arc::new(AtomicU32::new(0));
    let ended = store
        .run(|tx| {
            let (store, tried) = (store.clone(), tried.clone());
            async move {
                tx.get(b"fought over").await?;
                let n = tried.fetch_add(1, Ordering::Relaxed);
                put(&store, "fought over", le(n.into())).await.unwrap();
                tx.set("fought over", "ours");
                Ok::<_, ReadError>(())
            }
            .boxed()
        })
        .await;
    let tried = tried.load(Ordering::Relaxed);
    assert!(matches!(ended, Err(RunError::Contended { attempts }) if attempts == tried), "{ended:?}");
    assert!((10..=1000).contains(&tried), "{tried} attempts are not patience, or no bound");
    assert_eq!(number(value(&store, b"fought over").await.as_ref()), u64::from(tried) - 1);
}

pub(crate) async fn a_run_that_is_refused_leaves_nothing(world: &World) {
    let store = world.open().await;
    let ended: Result<(), _> = store
        .run(|tx| {
            async move {
                tx.set("x/refused", "1");
                Err("no")
            }
            .boxed()
        })
        .await;
    assert!(matches!(ended, Err(RunError::Body("no"))), "{ended:?}");
    let ended = store
        .run(|tx| {
            async move {
                tx.set("x/large", vec![0; 100_001]);
                tx.set("x/beside", "1");
                Ok::<_, ReadError>(())
            }
            .boxed()
        })
        .await;
    assert!(matches!(ended, Err(RunError::Limit(LimitError::Value { .. }))), "{ended:?}");
    assert_eq!(rows(&store, "x/").await, []);
    // One that loses a few times gets through.
    let lost = Arc::new(AtomicU32::new(0));
    let run = store.run(|tx| {
        let (store, lost) = (store.clone(), lost.clone());
        async move {
            let seen = number(tx.get(b"busy").await?.as_ref());
            if lost.fetch_add(1, Ordering::Relaxed) < 3 {
                put(&store, "busy", le(seen + 10)).await.unwrap();
            }
            tx.set("busy", le(seen + 1));
            Ok::<_, ReadError>(seen + 1)
        }
        .boxed()
    });
    assert_eq!(run.await.unwrap(), 31);
    assert_eq!(number(value(&store, b"busy").await.as_ref()), 31);
    let other = world.other_client(&store).await;
    store.close().await.unwrap();
    let ended = put(&store, "x/closed", "1").await;
    assert!(matches!(ended, Err(CommitError::Unavailable(_))), "{ended:?}");
    drop(other);
}
