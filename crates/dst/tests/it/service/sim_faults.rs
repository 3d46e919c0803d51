//! Each fault of the service alone: what it does, and what it may not do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kelpie_dst::service::{ServerCrash, ServiceBackend, StoreFaults};
use kelpie_storage::{CommitError, Outage, ReadError};

use super::conformance::shorthand::{le, put, value};
use super::scene::{ALWAYS, Scene, add, add_after_read, stored};
use super::world::small;

#[test]
fn a_commit_without_reads_never_conflicts() {
    let scene = Scene::new(3, ServiceBackend::Memory);
    let faults = StoreFaults {
        conflict_ppm: ALWAYS,
        rival_ppm: ALWAYS,
        too_old_ppm: ALWAYS,
        ..StoreFaults::default()
    };
    scene.service.set_faults(faults);
    let store = scene.store();
    scene.sim.block_on(async { add(&store, "n").await.unwrap() });
}

#[test]
fn a_rival_makes_its_victim_conflict_and_writes_nothing() {
    let scene = Scene::new(4, ServiceBackend::Memory);
    let store = scene.store();
    scene.sim.block_on(async {
        put(&store, "beside", "as it was").await.unwrap();
        scene.service.set_faults(StoreFaults { rival_ppm: ALWAYS, ..StoreFaults::default() });
        let ended = add_after_read(&store, "n").await;
        assert!(matches!(ended, Err(CommitError::Conflict)), "{ended:?}");
        assert_eq!(value(&store, b"beside").await.unwrap(), "as it was");
        assert_eq!(stored(&store, "n").await, 0);
    });
    assert_eq!(scene.fired("rival-writer"), 1);
}

#[test]
fn an_unknown_commit_has_landed_or_lands_late_or_never() {
    for (seed, name) in ["unknown-commit-never-landed", "unknown-commit-landed", "unknown-commit-landed-late"]
        .into_iter()
        .enumerate()
    {
        let scene = Scene::new(seed as u64, ServiceBackend::Memory);
        let store = scene.store();
        scene.sim.block_on(async {
            let chance = |wanted: &str| if wanted == name { ALWAYS } else { 0 };
            scene.service.set_faults(StoreFaults {
                lost_commit_ppm: chance("unknown-commit-never-landed"),
                lost_answer_ppm: chance("unknown-commit-landed"),
                late_commit_ppm: chance("unknown-commit-landed-late"),
                late_commit_max: Duration::from_secs(30),
                ..StoreFaults::default()
            });
            let ended = add(&store, "n").await;
            assert!(matches!(ended, Err(CommitError::Unknown(Outage::Remote { .. }))), "{ended:?}");
            let landed = stored(&store, "n").await;
            assert_eq!(landed, u64::from(name == "unknown-commit-landed"), "{name}");
            scene.env.sleep(Duration::from_secs(30)).await;
            let lands = stored(&store, "n").await;
            assert_eq!(lands, u64::from(name != "unknown-commit-never-landed"), "{name}");
        });
        assert_eq!((scene.fired(name), scene.fired("unknown-commit")), (1, 1), "{name}");
    }
}

#[test]
fn a_commit_that_is_not_seen_yet_conflicts_and_is_seen_by_all_once_anybody_is_told() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..40 {
        let scene = Scene::new(seed, if seed % 2 == 0 { ServiceBackend::Memory } else { small() });
        let (writer, reader) = (scene.store(), scene.store());
        let faults =
            StoreFaults { stale_ppm: ALWAYS, stale_max: Duration::from_millis(60), ..StoreFaults::default() };
        scene.sim.block_on(async {
            put(&reader, "other", "1").await.unwrap();
            scene.service.set_faults(faults);
            let acknowledged = Arc::new(AtomicBool::new(false));
            let flag = acknowledged.clone();
            scene.env.spawn("writer", async move {
                put(&writer, "k", "1").await.unwrap();
                flag.store(true, Ordering::Relaxed);
            });
            scene.env.sleep(Duration::from_millis(8)).await;
            let mut tx = reader.begin();
            let told = acknowledged.load(Ordering::Relaxed);
            let seen = tx.get(b"k").await.unwrap().is_some();
            assert!(seen || !told, "seed {seed}: older than what was acknowledged");
            if seen || scene.fired("stale-cache") == 0 {
                after += 1;
                return;
            }
            before += 1;
            // It begins before, and so it must not commit after.
            tx.set("seen", "nothing");
            let ended = tx.commit().await;
            assert!(matches!(ended, Err(CommitError::Conflict)), "seed {seed}: {ended:?}");
            // Making a watch tells: what was hidden would never complete it.
            let watch = reader.watch("k").await.unwrap();
            assert!(value(&reader, b"k").await.is_some(), "seed {seed}: a change before the watch is unseen");
            drop(watch);
        });
    }
    assert!(before > 8 && after > 2, "{before}, {after}");
}

#[test]
fn of_two_that_begin_at_once_one_may_see_less_and_of_two_after_each_other_none_does() {
    let mut split = 0;
    for seed in 0..30 {
        let scene = Scene::new(seed, ServiceBackend::Memory);
        let faults = StoreFaults {
            split_ppm: 500_000,
            split_max: Duration::from_millis(15),
            ..StoreFaults::default()
        };
        scene.service.set_faults(faults);
        let newest = Arc::new(AtomicU64::new(0));
        let store = scene.store();
        scene.sim.block_on(async {
            let writer = store.clone();
            let writes = async {
                for n in 1..40 {
                    put(&writer, "k", le(n)).await.unwrap();
                }
            };
            let reads = (0..4).map(|_| {
                let (store, newest) = (store.clone(), newest.clone());
                async move {
                    for _ in 0..15 {
                        let least = newest.load(Ordering::Relaxed);
                        let seen = stored(&store, "k").await;
                        assert!(seen >= least, "saw {seen} after somebody had seen {least}");
                        newest.fetch_max(seen, Ordering::Relaxed);
                    }
                }
            });
            futures::join!(writes, futures::future::join_all(reads));
        });
        split += scene.fired("split-view");
    }
    assert!(split > 30, "{split}");
}

#[test]
fn a_lost_notice_is_found_by_asking_and_a_late_one_comes() {
    for (seed, lost) in [true, false].into_iter().enumerate() {
        let scene = Scene::new(seed as u64, ServiceBackend::Memory);
        let store = scene.store();
        scene.service.set_faults(StoreFaults {
            lost_notice_ppm: if lost { ALWAYS } else { 0 },
            late_notice_ppm: if lost { 0 } else { ALWAYS },
            late_notice_max: Duration::from_secs(8),
            ..StoreFaults::default()
        });
        let waited = scene.sim.block_on(async {
            let watch = store.watch("k").await.unwrap();
            put(&store, "k", "1").await.unwrap();
            let began = scene.env.now();
            scene.env.timeout(Duration::from_secs(10), watch).await.expect("the watch never completed");
            scene.env.now() - began
        });
        assert_eq!(scene.fired(if lost { "lost-notice" } else { "late-expiry-notice" }), 1);
        if lost {
            assert!(waited > Duration::from_millis(500) && waited < Duration::from_secs(2), "{waited:?}");
        } else {
            assert!(waited > Duration::from_millis(100), "{waited:?} is not late");
        }
    }
}

#[test]
fn a_store_that_cannot_go_on_is_opened_anew() {
    let scene = Scene::new(12, small());
    let store = scene.store();
    scene.sim.block_on(async {
        put(&store, "a", "1").await.unwrap();
        scene.service.node().disk().fail_next_sync();
        let ended = put(&store, "a", "2").await;
        assert!(matches!(ended, Err(CommitError::Unknown(_))), "{ended:?}");
        put(&store, "b", "1").await.unwrap();
        assert!(value(&store, b"a").await.is_some());
    });
    assert_eq!(scene.fired("store-reopened"), 1);
    assert!(scene.service.failure().is_none());
}

#[test]
fn a_store_that_cannot_be_opened_says_why_and_tries_again() {
    let scene = Scene::new(13, small());
    let store = scene.store();
    scene.sim.block_on(async {
        put(&store, "a", "1").await.unwrap();
        scene.service.crash(ServerCrash::Killed);
        let base = std::path::Path::new("store/base.redb");
        scene.service.node().disk().set_unreadable(base, true);
        scene.service.restart();
        scene.env.sleep(Duration::from_secs(3)).await;
        assert!(scene.service.failure().is_some() && scene.service.backend().is_none());
        let read = store.begin().get(b"a").await;
        assert!(matches!(read, Err(ReadError::Unavailable(Outage::Remote { .. }))), "{read:?}");
        scene.service.node().disk().set_unreadable(base, false);
        scene.env.sleep(Duration::from_secs(2)).await;
        assert!(scene.service.failure().is_none() && scene.service.backend().is_some());
        assert_eq!(value(&store, b"a").await.unwrap(), "1");
    });
}

#[test]
fn whoever_is_told_of_a_change_sees_it() {
    let mut before = 0;
    for seed in 0..40 {
        let scene = Scene::new(seed, ServiceBackend::Memory);
        let (writer, watcher) = (scene.store(), scene.store());
        scene.sim.block_on(async {
            let watch = watcher.watch("k").await.unwrap();
            scene.service.set_faults(StoreFaults {
                stale_ppm: ALWAYS,
                stale_max: Duration::from_millis(100),
                ..StoreFaults::default()
            });
            let acknowledged = Arc::new(AtomicBool::new(false));
            let flag = acknowledged.clone();
            scene.env.spawn("writer", async move {
                put(&writer, "k", "1").await.unwrap();
                flag.store(true, Ordering::Relaxed);
            });
            watch.await;
            before += u32::from(!acknowledged.load(Ordering::Relaxed));
            assert!(value(&watcher, b"k").await.is_some(), "seed {seed}: told, and it is not there");
        });
    }
    assert!(before > 10, "{before}");
}
