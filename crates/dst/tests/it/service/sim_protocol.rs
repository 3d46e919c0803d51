//! What the protocol promises, whatever comes twice, late, or out of another life.

use std::time::Duration;

use bytes::Bytes;
use kelpie_dst::service::{ServerCrash, ServiceBackend, StoreFaults};
use kelpie_env::sim::LinkFaults;
use kelpie_storage::{Backend, CommitError, CommitRequest, Op, Outage, ReadError};

use super::conformance::shorthand::{le, put, value};
use super::scene::{ALWAYS, Scene, add, add_after_read, stored};
use super::world::small;

#[test]
fn a_request_that_comes_twice_is_carried_out_once() {
    let scene = Scene::new(1, ServiceBackend::Memory);
    let doubling = LinkFaults {
        duplicate_ppm: ALWAYS,
        replay_ppm: ALWAYS,
        replay_after_max: Duration::from_secs(4),
        ..LinkFaults::default()
    };
    scene.links(doubling);
    let store = scene.store();
    scene.sim.block_on(async {
        for n in 1..=100 {
            add(&store, "n").await.unwrap();
            assert_eq!(stored(&store, "n").await, n);
        }
        scene.env.sleep(Duration::from_secs(5)).await;
        assert_eq!(stored(&store, "n").await, 100);
    });
    assert!(scene.fired("repeated-commit-request") > 150);
}

#[test]
fn what_was_refused_stays_refused_when_it_comes_again() {
    let scene = Scene::new(2, ServiceBackend::Memory);
    scene.links(LinkFaults { duplicate_ppm: ALWAYS, ..LinkFaults::default() });
    let faults = StoreFaults {
        unavailable_ppm: 200_000,
        conflict_ppm: 300_000,
        too_old_ppm: 200_000,
        ..StoreFaults::default()
    };
    scene.service.set_faults(faults);
    let store = scene.store();
    let (mut done, mut refused) = (0, 0);
    scene.sim.block_on(async {
        for _ in 0..300 {
            match add_after_read(&store, "n").await {
                Ok(()) => done += 1,
                Err(CommitError::Conflict | CommitError::TooOld | CommitError::Unavailable(_)) => {
                    refused += 1
                }
                Err(error) => panic!("{error}"),
            }
        }
        scene.service.set_faults(StoreFaults::default());
        assert_eq!(stored(&store, "n").await, done);
    });
    assert!(done > 30 && refused > 100, "{done}, {refused}");
    for name in ["conflict-storm", "store-unavailable", "too-old-transaction"] {
        assert!(scene.fired(name) > 30, "{name}: {:?}", scene.service.fired());
    }
}

#[test]
fn a_watch_outlives_the_server_and_is_given_up_with_its_watcher() {
    let scene = Scene::new(9, small());
    let store = scene.store();
    scene.sim.block_on(async {
        let watch = store.watch("k").await.unwrap();
        scene.service.crash(ServerCrash::PowerCut);
        scene.env.sleep(Duration::from_secs(5)).await;
        scene.service.restart();
        scene.env.timeout(Duration::from_secs(5), watch).await.expect("the watch never completed");
        let idle = store.watch("k").await.unwrap();
        // Longer than an unattended watch stands: it is renewed.
        let waited = scene.env.timeout(Duration::from_secs(30), idle).await;
        waited.expect_err("nothing has changed");
    });
}

#[test]
fn a_transaction_does_not_outlive_its_server() {
    let scene = Scene::new(10, small());
    let store = scene.store();
    scene.sim.block_on(async {
        put(&store, "a", "1").await.unwrap();
        let (mut reads, mut fresh) = (store.begin(), store.begin());
        assert!(reads.get(b"a").await.unwrap().is_some());
        scene.service.crash(ServerCrash::Killed);
        scene.service.restart();
        let ended = reads.get(b"b").await;
        assert!(matches!(ended, Err(ReadError::TooOld)), "{ended:?}");
        // One that has seen nothing begins in the new life.
        assert!(fresh.get(b"a").await.unwrap().is_some());
        fresh.set("a", "2");
        fresh.commit().await.unwrap();
        // One whose commit finds the server gone was not carried out.
        let mut late = store.begin();
        late.get(b"a").await.unwrap();
        late.set("a", "3");
        scene.service.crash(ServerCrash::PowerCut);
        scene.service.restart();
        let ended = late.commit().await;
        assert!(matches!(ended, Err(CommitError::Unknown(_) | CommitError::TooOld)), "{ended:?}");
        assert_eq!(value(&store, b"a").await.unwrap(), "2");
    });
    assert!(scene.fired("request-of-an-earlier-life") > 0);
}

#[test]
fn acknowledged_commits_survive_power_cuts_and_old_requests_do_nothing_in_a_new_life() {
    let mut unknown = 0;
    for seed in 0..12 {
        let scene = Scene::new(seed, small());
        let replaying = LinkFaults {
            duplicate_ppm: 300_000,
            replay_ppm: 500_000,
            replay_after_max: Duration::from_secs(1),
            ..LinkFaults::default()
        };
        scene.links(replaying);
        let store = scene.store();
        scene.sim.block_on(async {
            let (mut done, mut perhaps) = (0, 0);
            let server = scene.service.clone();
            let env = scene.env.clone();
            let cuts = async {
                for _ in 0..4 {
                    env.sleep(Duration::from_millis(40 + env.random_u64() % 100)).await;
                    server.crash(ServerCrash::PowerCut);
                    env.sleep(Duration::from_millis(env.random_u64() % 30)).await;
                    server.restart();
                }
            };
            let adds = async {
                for _ in 0..120 {
                    match add(&store, "n").await {
                        Ok(()) => done += 1,
                        Err(CommitError::Unknown(_)) => perhaps += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            futures::join!(cuts, adds);
            scene.env.sleep(Duration::from_secs(2)).await;
            let found = stored(&store, "n").await;
            assert!(done <= found && found <= done + perhaps, "seed {seed}: {done} + {perhaps}, {found}");
            unknown += perhaps;
        });
    }
    assert!(unknown > 10, "{unknown}");
}

#[test]
fn more_requests_than_fit_are_refused_for_good() {
    let scene = Scene::new(14, ServiceBackend::Memory);
    scene.service.set_faults(StoreFaults {
        slow_ppm: ALWAYS,
        slow_max: Duration::from_millis(400),
        ..StoreFaults::default()
    });
    let store = scene.store();
    scene.sim.block_on(async {
        let ended = futures::future::join_all((0..1_200).map(|_| add(&store, "n"))).await;
        let done = ended.iter().filter(|end| end.is_ok()).count() as u64;
        let overloaded =
            |end: &Result<(), CommitError>| matches!(end, Err(CommitError::Unavailable(Outage::Overloaded)));
        let refused = ended.iter().filter(|end| overloaded(end)).count() as u64;
        assert_eq!(done + refused, 1_200, "{:?}", ended.iter().find(|end| !end.is_ok() && !overloaded(end)));
        assert!(refused > 100, "{refused}");
        scene.env.sleep(Duration::from_secs(2)).await;
        assert_eq!(stored(&store, "n").await, done);
    });
    assert!(scene.fired("store-overloaded") >= 100);
}

#[test]
fn a_paused_server_answers_late_and_once() {
    let scene = Scene::new(15, ServiceBackend::Memory);
    let store = scene.store();
    scene.sim.block_on(async {
        add(&store, "n").await.unwrap();
        scene.service.pause();
        let ended = add(&store, "n").await;
        assert!(matches!(ended, Err(CommitError::Unknown(_))), "{ended:?}");
        scene.service.resume();
        scene.env.sleep(Duration::from_secs(1)).await;
        assert_eq!(stored(&store, "n").await, 2, "what was given up has landed, once");
    });
}

#[test]
fn a_closed_client_serves_no_more_and_others_do() {
    let scene = Scene::new(16, ServiceBackend::Memory);
    let (closed, open) = (scene.store(), scene.store());
    scene.sim.block_on(async {
        let mut begun = closed.begin();
        begun.get(b"a").await.unwrap();
        let watch = closed.watch("a").await.unwrap();
        closed.close().await.unwrap();
        watch.await;
        assert!(matches!(begun.get(b"b").await, Err(ReadError::Unavailable(Outage::Closed))));
        let ended = put(&closed, Bytes::from("a"), "1").await;
        assert!(matches!(ended, Err(CommitError::Unavailable(Outage::Closed))), "{ended:?}");
        put(&open, "a", "1").await.unwrap();
    });
}

#[test]
fn a_request_that_comes_minutes_later_is_not_carried_out_again() {
    let scene = Scene::new(18, ServiceBackend::Memory);
    let late = LinkFaults {
        replay_ppm: ALWAYS,
        replay_after_max: Duration::from_secs(600),
        ..LinkFaults::default()
    };
    scene.links(late);
    let store = scene.store();
    scene.sim.block_on(async {
        for _ in 0..30 {
            add(&store, "n").await.unwrap();
        }
        scene.env.sleep(Duration::from_secs(700)).await;
        assert_eq!(stored(&store, "n").await, 30);
    });
    assert!(scene.sim.fired()["late-replay"] > 50);
}

#[test]
fn a_snapshot_is_held_for_its_time_and_not_longer() {
    let scene = Scene::new(19, small());
    let store = scene.store();
    let client = scene.service.connect(&scene.node);
    scene.sim.block_on(async {
        put(&store, "a", "old").await.unwrap();
        let snapshot = client.begin().wait().await.unwrap();
        assert_eq!(snapshot.get(b"a").wait().await.unwrap().unwrap(), "old");
        put(&store, "a", "new").await.unwrap();
        scene.env.sleep(Duration::from_millis(5_500)).await;
        assert_eq!(snapshot.get(b"a").wait().await.unwrap().unwrap(), "old");
        scene.env.sleep(Duration::from_secs(3)).await;
        let late = snapshot.get(b"a").wait().await;
        assert!(matches!(late, Err(ReadError::TooOld)), "{late:?}");
        let request = CommitRequest { reads: vec!["b".into()], ..CommitRequest::default() };
        let late = snapshot.commit(request).await;
        assert!(matches!(late, Err(CommitError::TooOld)), "{late:?}");
    });
}

#[test]
fn one_snapshot_never_shows_two_lives_of_the_server() {
    let (mut whole, mut over) = (0, 0);
    for seed in 0..150 {
        let scene = Scene::new(seed, ServiceBackend::Memory);
        let store = scene.store();
        let client = scene.service.connect(&scene.node);
        scene.sim.block_on(async {
            put(&store, "warm", "1").await.unwrap();
            client.begin().wait().await.unwrap().get(b"warm").wait().await.unwrap();
            let there = LinkFaults { drop_ppm: 600_000, ..LinkFaults::default() };
            let back = LinkFaults {
                tail_ppm: 700_000,
                tail_max: Duration::from_millis(900),
                ..LinkFaults::default()
            };
            scene.sim.set_link_faults(&scene.node, scene.service.node(), there);
            scene.sim.set_link_faults(scene.service.node(), &scene.node, back);
            let writer = scene.service.backend().unwrap();
            let both = |n: u64| CommitRequest {
                writes: vec![("a".into(), Op::Set(le(n))), ("b".into(), Op::Set(le(n)))],
                ..CommitRequest::default()
            };
            let changes = async {
                for n in 1..8 {
                    writer.commit(both(n)).wait().await.unwrap();
                    scene.env.sleep(Duration::from_millis(scene.env.random_u64() % 60)).await;
                    scene.service.crash(ServerCrash::Killed);
                    scene.service.restart();
                }
            };
            let reads = async {
                for _ in 0..4 {
                    let snapshot = client.begin().wait().await.unwrap();
                    let (a, b) = futures::join!(snapshot.get(b"a").wait(), snapshot.get(b"b").wait());
                    match (a, b) {
                        (Ok(a), Ok(b)) => {
                            assert_eq!(a, b, "seed {seed}: of two lives");
                            whole += 1;
                        }
                        _ => over += 1,
                    }
                }
            };
            futures::join!(changes, reads);
        });
    }
    assert!(whole > 100 && over > 20, "{whole}, {over}");
}
