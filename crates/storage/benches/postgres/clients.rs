//! Clients that commit fenced transactions, as the turn of an actor does: two rows are read
//! together and compared, three are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use kelpie_env::Env;
use kelpie_storage::{CommitError, Store};

use crate::ACTORS;

/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 100;

/// What one round found.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// Commits a second.
    pub(crate) rate: f64,
    /// Mean time of one commit, as pgbench gives it too.
    pub(crate) mean: Duration,
    /// Attempts that lost, for each commit.
    pub(crate) lost: f64,
}

/// The key of one row of an actor; pgbench makes the same ones.
fn key(kind: &str, actor: u64) -> Bytes {
    [kind.as_bytes(), &actor.to_be_bytes()].concat().into()
}

fn value(number: u64) -> Bytes {
    let mut value = vec![b'v'; VALUE_BYTES];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value.into()
}

/// The rows of all actors.
pub(crate) async fn fill(store: &Store, clients: u64) {
    for client in 0..clients {
        let mut tx = store.begin();
        for actor in client * ACTORS..(client + 1) * ACTORS {
            for kind in ["head", "own/", "stat"] {
                tx.set(key(kind, actor), value(0));
            }
        }
        tx.commit().await.unwrap();
    }
}

/// An actor as its owner knows it.
struct Actor {
    id: u64,
    own: Bytes,
    head: Bytes,
    seq: u64,
}

impl Actor {
    /// As it stands in the store: pgbench has written it in between.
    async fn load(store: &Store, id: u64) -> Self {
        let rows = store.begin().get_many(&[key("own/", id), key("head", id)]).await.unwrap();
        let [Some(own), Some(head)] = &rows[..] else { panic!("actor {id} has no rows") };
        Self { id, own: own.clone(), head: head.clone(), seq: 0 }
    }

    /// One commit; how often it lost before.
    async fn turn(&mut self, store: &Store, call: u64) -> u64 {
        let mut lost = 0;
        let fence = [key("own/", self.id), key("head", self.id)];
        self.seq += 1;
        let head = value(self.seq);
        loop {
            let mut tx = store.begin();
            let stored = tx.get_many(&fence).await.unwrap();
            assert!(stored[0].as_ref() == Some(&self.own) && stored[1].as_ref() == Some(&self.head), "moved");
            tx.set(fence[1].clone(), head.clone());
            tx.set(key("stat", self.id), value(call));
            let dedup = [&key("dedu", self.id)[..], &call.to_be_bytes()].concat();
            tx.set(dedup, value(call));
            match tx.commit().await {
                Ok(_) => break,
                Err(CommitError::Conflict) => lost += 1,
                Err(error) => panic!("{error}"),
            }
        }
        self.head = head;
        lost
    }
}

/// Clients that commit until the time is over.
pub(crate) async fn round(env: &Env, store: &Store, clients: u64, time: Duration) -> Round {
    let over = Arc::new(AtomicBool::new(false));
    let mut actors = Vec::new();
    for client in 0..clients {
        let own = (client * ACTORS..(client + 1) * ACTORS).map(|id| Actor::load(store, id));
        actors.push(join_all(own).await);
    }
    let began = env.now();
    let mut running = Vec::new();
    for mut actors in actors {
        let (env, store, over) = (env.clone(), store.clone(), over.clone());
        let (done, ended) = tokio::sync::oneshot::channel();
        env.clone().spawn("client", async move {
            let (mut commits, mut lost) = (0u64, 0u64);
            while !over.load(Ordering::Relaxed) {
                let drawn = env.random_u64();
                let chosen = usize::try_from(drawn % ACTORS).expect("one of a hundred");
                lost += actors[chosen].turn(&store, drawn).await;
                commits += 1;
            }
            done.send((commits, lost)).unwrap();
        });
        running.push(ended);
    }
    env.sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let counts: Vec<(u64, u64)> = join_all(running).await.into_iter().map(Result::unwrap).collect();
    let took = env.now().saturating_sub(began);
    let (commits, lost): (u64, u64) = counts.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let rate = commits as f64 / took.as_secs_f64();
    Round { rate, mean: Duration::from_secs_f64(clients as f64 / rate), lost: lost as f64 / commits as f64 }
}
