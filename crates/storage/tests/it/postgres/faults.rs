//! A real server that dies, and connections that are cut around `COMMIT`.
//!
//! Each effect is a numbered addition through `Store::run`; afterwards each is there exactly
//! once, whatever was known in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;
use kelpie_storage::{CommitError, Outage, RangeQuery, ReadError, RunError, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::server::{self, Own, fresh, fresh_on, open};
use super::{put, rows, value};

/// Adds one to the counter of effect `number`.
async fn effect(store: &Store, number: u32) -> Result<(), RunError<ReadError>> {
    store
        .run(|tx| {
            async move {
                let key = format!("effect/{number:05}");
                let before = tx.get(key.as_bytes()).await?.map_or(0, |value| value[0]);
                tx.set(key, vec![before + 1]);
                Ok(())
            }
            .boxed()
        })
        .await
}

/// Each acknowledged effect is there once, each refused one is not, and none is there twice.
async fn exactly_once(store: &Store, ended: &BTreeMap<u32, Result<(), RunError<ReadError>>>) {
    let found: BTreeMap<Bytes, Bytes> =
        rows(&mut store.begin(), RangeQuery::prefix(b"effect/")).await.into_iter().collect();
    for (number, ended) in ended {
        let times = found.get(format!("effect/{number:05}").as_bytes()).map_or(0, |value| value[0]);
        let fits = match ended {
            Ok(()) => times == 1,
            Err(RunError::Unknown(_)) => times <= 1,
            Err(_) => times == 0,
        };
        assert!(fits, "effect {number} ended as {ended:?} and is there {times} times");
    }
}

/// So many effects of each client that several faults happen meanwhile.
const EACH: u32 = 500;

/// What the proxy does with the connection that sends a certain `COMMIT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The commit reaches the server, its answer nobody.
    Answer,
    /// The commit never reaches the server.
    Request,
    /// The client is cut off at once, and the commit reaches the server later.
    Late,
}

/// A proxy that cuts every third connection that commits, in all three ways in turn.
struct Proxy {
    port: u16,
    commits: Arc<AtomicU32>,
    cuts: Arc<AtomicU32>,
}

impl Proxy {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (commits, cuts) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let shared = (commits.clone(), cuts.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (commits, cuts) = shared.clone();
                tokio::spawn(async move {
                    if let Ok(to) = TcpStream::connect(("127.0.0.1", server)).await {
                        pass(client, to, &commits, &cuts).await;
                    }
                });
            }
        });
        Self { port, commits, cuts }
    }
}

/// Moves bytes both ways until a commit is chosen to be cut.
async fn pass(mut client: TcpStream, mut server: TcpStream, commits: &AtomicU32, cuts: &AtomicU32) {
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let (from_client, from_server) = (client.read(&mut up).boxed(), server.read(&mut down).boxed());
        let next = futures::future::select(from_client, from_server);
        let (sent, answered) = match next.await {
            futures::future::Either::Left((sent, _)) => (Some(sent), None),
            futures::future::Either::Right((answered, _)) => (None, Some(answered)),
        };
        if let Some(answered) = answered {
            match answered {
                Ok(bytes) if bytes > 0 && client.write_all(&down[..bytes]).await.is_ok() => continue,
                _ => return,
            }
        }
        let Some(Ok(bytes)) = sent else { return };
        if bytes == 0 {
            return;
        }
        // A write goes with it: a reader's commit has nothing to lose.
        let commits_a_write = bytes > 40 && up[..bytes].windows(6).any(|part| part == b"COMMIT");
        if commits_a_write && commits.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            let how =
                [Cut::Answer, Cut::Request, Cut::Late][cuts.fetch_add(1, Ordering::Relaxed) as usize % 3];
            return cut(how, client, server, &up[..bytes]).await;
        }
        if server.write_all(&up[..bytes]).await.is_err() {
            return;
        }
    }
}

async fn cut(how: Cut, client: TcpStream, mut server: TcpStream, request: &[u8]) {
    match how {
        Cut::Request => {}
        Cut::Answer => {
            server.write_all(request).await.unwrap();
            // The answer comes, and goes nowhere.
            assert!(server.read(&mut [0; 4096]).await.unwrap() > 0, "the server did not answer");
        }
        Cut::Late => {
            drop(client);
            tokio::time::sleep(Duration::from_millis(400)).await;
            server.write_all(request).await.unwrap();
            assert!(server.read(&mut [0; 4096]).await.unwrap() > 0, "the server did not answer");
        }
    }
}

/// Runs effects through a proxy that cuts commits, and says how often it did.
async fn effects_through_cuts(
    clients: u32,
    each: u32,
) -> (Store, BTreeMap<u32, Result<(), RunError<ReadError>>>, u32) {
    let port = server::port_of(&server::server_url());
    let proxy = Proxy::before(port).await;
    let url = fresh();
    let direct = open(&url).await;
    let store = open(&url.through(port, proxy.port)).await;
    let work = (0..clients).map(|client| {
        let store = store.clone();
        async move {
            let mut ended = Vec::new();
            for n in 0..each {
                let number = client * each + n;
                ended.push((number, effect(&store, number).await));
            }
            ended
        }
    });
    let ended = join_all(work).await.into_iter().flatten().collect();
    assert!(proxy.commits.load(Ordering::Relaxed) > 0);
    (direct, ended, proxy.cuts.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_around_commit_leaves_each_effect_once() {
    let (direct, ended, cuts) = effects_through_cuts(4, 40).await;
    assert!(cuts >= 6, "only {cuts} cuts: each kind at least twice");
    assert!(ended.values().all(Result::is_ok), "the store was there all the time: {ended:?}");
    // What was to land late has landed by now.
    tokio::time::sleep(Duration::from_millis(600)).await;
    exactly_once(&direct, &ended).await;
}

#[cfg(feature = "mutants")]
#[tokio::test]
async fn mutant_a_lost_answer_taken_for_a_refusal_doubles_an_effect() {
    let _armed = kelpie_core::mutant::arm("postgres_lost_answer_is_a_refusal");
    let (direct, ended, _) = effects_through_cuts(1, 30).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let times = rows(&mut direct.begin(), RangeQuery::prefix(b"effect/")).await;
    assert_eq!(ended.len(), 30);
    assert!(times.iter().any(|(_, value)| value[0] > 1), "no effect was doubled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_killed_at_any_moment_leave_each_effect_once() {
    let url = fresh();
    let store = open(&url).await;
    let killer = server::client(&server::server_url()).await;
    let kill = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE application_name = 'kelpie_{}' AND random() < 0.5",
        url.schema
    );
    let named = open(&url.with(&format!("application_name=kelpie_{}", url.schema))).await;
    let work = join_all((0..4u32).map(|client| {
        let store = named.clone();
        async move {
            let mut ended = Vec::new();
            for n in 0..EACH {
                ended.push((client * EACH + n, effect(&store, client * EACH + n).await));
            }
            ended
        }
    }));
    let mut work = std::pin::pin!(work);
    let mut killed = 0;
    let ended = loop {
        match tokio::time::timeout(Duration::from_millis(60), &mut work).await {
            Ok(ended) => break ended,
            Err(_) => killed += killer.query_one(&kill, &[]).await.unwrap().get::<_, i64>(0),
        }
    };
    assert!(killed > 0, "nothing was killed");
    exactly_once(&store, &ended.into_iter().flatten().collect()).await;
}

/// `kill -9` of one session brings the whole server down and up again; of the server, down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_and_doubles_nothing() {
    let mut own = Own::start();
    let url = fresh_on(&own.url());
    let store = open(&url).await;
    let work = join_all((0..4u32).map(|client| {
        let store = store.clone();
        async move {
            let mut ended = Vec::new();
            for n in 0..EACH {
                ended.push((client * EACH + n, effect(&store, client * EACH + n).await));
            }
            ended
        }
    }));
    let mut work = std::pin::pin!(work);
    for round in 0..3 {
        if tokio::time::timeout(Duration::from_millis(150), &mut work).await.is_ok() {
            panic!("all was done before round {round}");
        }
        if round == 1 {
            own.kill_a_session();
        } else {
            own.kill();
            own.start_again();
        }
    }
    let ended: BTreeMap<_, _> = work.await.into_iter().flatten().collect();
    assert!(ended.values().filter(|ended| ended.is_ok()).count() > 0, "{ended:?}");
    let store = open(&url).await;
    exactly_once(&store, &ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_unavailable_and_then_back() {
    let mut own = Own::start();
    let store = open(&fresh_on(&own.url())).await;
    put(&store, b"a", b"1").await;
    own.kill();
    let refused = store.begin().get(b"a").await.unwrap_err();
    assert!(matches!(refused, ReadError::Unavailable(Outage::Remote { .. })), "{refused:?}");
    let mut tx = store.begin();
    tx.set(&b"a"[..], &b"2"[..]);
    let refused = tx.commit().await.unwrap_err();
    assert!(matches!(refused, CommitError::Unavailable(Outage::Remote { .. })), "{refused:?}");
    own.start_again();
    assert_eq!(value(&store, b"a").await.unwrap(), "1");
}
