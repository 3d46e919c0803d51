//! Strict serializability, one known anomaly after the other.

use bytes::Bytes;
use futures::future::join;
use kelpie_env::Env;
use kelpie_storage::{AtomicOp, CommitError, RangeQuery, ReadError, Store, Transaction};

use super::shorthand::{Commit, at_most_one, le, number, pages, put, rows, value};
use super::world::{World, pause};

pub(crate) async fn write_skew_is_refused(world: &World) {
    let store = world.open().await;
    for round in 0..4 {
        let [on_call, beside] = ["a", "b"].map(|doctor| Bytes::from(format!("{round}/{doctor}")));
        let (mut a, mut b) = (store.begin(), store.begin());
        assert_eq!(a.get(&beside).await.unwrap(), None);
        assert_eq!(b.get(&on_call).await.unwrap(), None);
        a.set(on_call, "gone");
        b.set(beside, "gone");
        at_most_one(ended(a, b, round % 2 == 0).await);
        assert!(rows(&store, &format!("{round}/")).await.len() < 2, "both have gone");
    }
}

/// Commits two transactions at once, or one after the other.
async fn ended(a: Transaction, b: Transaction, at_once: bool) -> [Commit; 2] {
    if at_once { join(a.commit(), b.commit()).await.into() } else { [a.commit().await, b.commit().await] }
}

pub(crate) async fn a_lost_update_is_refused(world: &World) {
    type Write = fn(&mut Transaction);
    let theirs: [Write; 4] = [
        |tx| tx.set("counter", le(7)),
        |tx| tx.atomic(AtomicOp::Add, "counter", le(6)),
        |tx| tx.clear("counter"),
        |tx| tx.clear_range("co", "cp"),
    ];
    let store = world.open().await;
    for (n, write) in theirs.into_iter().enumerate() {
        put(&store, "counter", le(1)).await.unwrap();
        let mut tx = store.begin();
        if n.is_multiple_of(2) {
            tx.get_many(&["other".into(), "counter".into()]).await.unwrap();
        } else {
            tx.get(b"counter").await.unwrap();
        }
        let mut their_own = store.begin();
        write(&mut their_own);
        their_own.commit().await.unwrap();
        tx.set("counter", le(2));
        assert!(matches!(tx.commit().await, Err(CommitError::Conflict)), "write {n} was lost");
        let stored = number(value(&store, b"counter").await.as_ref());
        assert_eq!(stored, if n < 2 { 7 } else { 0 }, "write {n}");
    }
}

pub(crate) async fn phantoms_are_refused(world: &World) {
    let store = world.open().await;
    for round in 0..4 {
        at_most_one(phantoms(&store, round).await);
    }
    // With rows at the edge, a limit and the other direction.
    for (key, reverse) in [("p/a", false), ("p/z", true)] {
        put(&store, key, "edge").await.unwrap();
        let (mut a, mut b) = (store.begin(), store.begin());
        let query = RangeQuery { reverse, ..RangeQuery::prefix(b"p/").limit(5) };
        assert!(!a.get_range(query).await.unwrap().rows.is_empty());
        assert_eq!(b.get(b"seen").await.unwrap(), None);
        a.set("seen", "1");
        b.set("p/m", "phantom");
        at_most_one(ended(a, b, false).await);
        let mut tx = store.begin();
        tx.clear_range("p/", "p0");
        tx.clear("seen");
        tx.commit().await.unwrap();
    }
}

/// Each of two transactions finds a range empty and puts a row into the other's. Both
/// cannot have been first.
pub(crate) async fn phantoms(store: &Store, round: usize) -> [Commit; 2] {
    let (mut a, mut b) = (store.begin(), store.begin());
    let prefixes = ["left", "right"].map(|side| format!("{round}/{side}/"));
    assert_eq!(pages(&mut a, RangeQuery::prefix(prefixes[0].as_bytes())).await, []);
    assert_eq!(pages(&mut b, RangeQuery::prefix(prefixes[1].as_bytes())).await, []);
    a.set(format!("{}1", prefixes[1]), "theirs");
    b.set(format!("{}1", prefixes[0]), "theirs");
    ended(a, b, round.is_multiple_of(2)).await
}

pub(crate) async fn phantoms_behind_a_cleared_range_are_refused(world: &World) {
    let store = world.open().await;
    for n in 0..5 {
        put(&store, format!("seat/{n}"), "taken").await.unwrap();
    }
    let (mut counts, mut clears) = (store.begin(), store.begin());
    assert_eq!(pages(&mut counts, RangeQuery::prefix(b"seat/")).await.len(), 5);
    assert_eq!(clears.get(b"count").await.unwrap(), None);
    counts.set("count", "5");
    clears.clear_range("seat/1", "seat/3");
    at_most_one(ended(counts, clears, false).await);
}

/// Fekete, O'Neil, O'Neil 2004: one account pays a penalty if both together fall below
/// zero; who looks in between must not see what contradicts the penalty.
pub(crate) async fn no_reader_sees_the_read_only_anomaly(world: &World) {
    let store = world.open().await;
    for committed in [false, true] {
        let mut reset = store.begin();
        reset.set("checking", le(0));
        reset.set("savings", le(0));
        reset.commit().await.unwrap();
        let (mut withdraws, mut deposits) = (store.begin(), store.begin());
        let (checking, savings) = balances(&mut withdraws).await.unwrap();
        assert_eq!((checking, savings), (0, 0));
        balances(&mut deposits).await.unwrap();
        deposits.set("savings", le(20));
        let deposited = deposits.commit().await;
        let mut looks = store.begin();
        let mut seen = balances(&mut looks).await;
        if committed && looks.commit().await.is_err() {
            seen = Err(ReadError::TooOld);
        }
        // 10 and a penalty of 1, because the deposit was not seen.
        withdraws.set("checking", 11u64.wrapping_neg().to_le_bytes().to_vec());
        let withdrawn = withdraws.commit().await;
        let contradiction =
            deposited.is_ok() && withdrawn.is_ok() && seen.as_ref().is_ok_and(|seen| *seen == (0, 20));
        assert!(!contradiction, "{deposited:?}, {withdrawn:?}, seen: {seen:?}");
    }
}

async fn balances(tx: &mut Transaction) -> Result<(u64, u64), ReadError> {
    let [checking, savings] = [tx.get(b"checking").await?, tx.get(b"savings").await?];
    Ok((number(checking.as_ref()), number(savings.as_ref())))
}

/// Two writers that know nothing of each other: all readers see them in one order.
pub(crate) async fn no_two_readers_see_a_long_fork(world: &World) {
    let store = world.open().await;
    let other = world.other_client(&store).await;
    for round in 0..world.times(20, 30) {
        let [x, y] = ["x", "y"].map(|key| Bytes::from(format!("fork/{round}/{key}")));
        let works = (0..6usize).map(|n| {
            let (x, y, env) = (x.clone(), y.clone(), world.env.clone());
            let store = if n.is_multiple_of(2) { store.clone() } else { other.clone() };
            async move {
                pause(&env).await;
                match n {
                    0 => put(&store, x, "1").await.map(|_| None),
                    1 => put(&store, y, "1").await.map(|_| None),
                    _ => {
                        let mut tx = store.begin();
                        let (first, second) = if n.is_multiple_of(2) { (&x, &y) } else { (&y, &x) };
                        let one = tx.get(first).await?.is_some();
                        pause(&env).await;
                        let two = tx.get(second).await?.is_some();
                        Ok(Some(if n.is_multiple_of(2) { (one, two) } else { (two, one) }))
                    }
                }
            }
        });
        let seen = world.at_once(works).await.into_iter().filter_map(|seen| match seen {
            Err(CommitError::Conflict) => None,
            seen => seen.unwrap(),
        });
        let seen: Vec<(bool, bool)> = seen.collect();
        let fork = seen.contains(&(true, false)) && seen.contains(&(false, true));
        assert!(!fork, "round {round}: one saw x alone, another y alone: {seen:?}");
    }
}

/// Counts up from many clients at any moment of each other's commits. One that reads the
/// old value with the version of the new one would take an increment away.
pub(crate) async fn a_reader_that_starts_during_a_commit_loses_no_update(world: &World) {
    let store = world.open().await;
    let counted = count_up(world, &store).await;
    let stored = number(value(&store, b"count").await.as_ref());
    assert_eq!(stored, counted, "increments that were acknowledged are lost");
}

/// How many increments were acknowledged.
pub(crate) async fn count_up(world: &World, store: &Store) -> u64 {
    let tries = world.times(20, 15);
    let clients = (0..6).map(|_| {
        let (store, env) = (store.clone(), world.env.clone());
        async move {
            let mut counted = 0;
            for _ in 0..tries {
                match increment(&store, &env).await {
                    Ok(_) => counted += 1,
                    Err(CommitError::Conflict) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            counted
        }
    });
    let counted: u64 = world.at_once(clients).await.iter().sum();
    assert!(counted > 1, "hardly one of them got through: {counted}");
    counted
}

async fn increment(store: &Store, env: &Env) -> Commit {
    let mut tx = store.begin();
    let count = number(tx.get(b"count").await?.as_ref());
    tx.set("count", le(count + 1));
    pause(env).await;
    tx.commit().await
}

pub(crate) async fn what_was_acknowledged_is_seen_by_all_who_begin_later(world: &World) {
    let store = world.open().await;
    let other = world.other_client(&store).await;
    let clients = (0..4).map(|client| {
        let (writes, reads) = if client % 2 == 0 { (&store, &other) } else { (&other, &store) };
        let (writes, reads, rounds) = (writes.clone(), reads.clone(), world.times(20, 10) as u64);
        async move {
            let key = Bytes::from(format!("client/{client}"));
            for n in 1..=rounds {
                put(&writes, key.clone(), le(n)).await.unwrap();
                assert_eq!(number(value(&reads, &key).await.as_ref()), n, "a stale read");
            }
        }
    });
    world.at_once(clients).await;
}

pub(crate) async fn snapshot_reads_stay_at_one_version_and_do_not_conflict(world: &World) {
    let store = world.open().await;
    let mut tx = store.begin();
    assert_eq!(tx.get_snapshot(b"a").await.unwrap(), None);
    assert_eq!(pages(&mut tx, RangeQuery::prefix(b"a").snapshot()).await, []);
    put(&store, "a", "theirs").await.unwrap();
    assert_eq!(tx.get_snapshot(b"a").await.unwrap(), None, "not one version");
    assert_eq!(tx.get_many(&["b".into()]).await.unwrap(), [None]);
    tx.set("c", "ours");
    tx.commit().await.unwrap();
}
