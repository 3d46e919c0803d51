//! Clusters of actors that a user wrote, right and wrong ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_dst::history::Ended;
use kelpie_dst::schedule::{Fault, MachineFault, What};
use kelpie_runtime::{Actor, HandlerError, Turn, View};

/// Counts calls: in its records, or wrongly in the memory of its process.
struct Tally {
    forgetful: bool,
    memory: AtomicU64,
}

impl Tally {
    fn actor(forgetful: bool) -> Arc<dyn Actor> {
        Arc::new(Self { forgetful, memory: AtomicU64::new(0) })
    }
}

impl Actor for Tally {
    fn actor_type(&self) -> &str {
        "tally"
    }

    fn is_read(&self, _operation: &str) -> bool {
        false
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            let stored = turn.get(b"count").await?;
            let stored = stored.map_or(0, |stored| String::from_utf8_lossy(&stored).parse().unwrap());
            let count: u64 =
                if self.forgetful { self.memory.fetch_add(1, Ordering::Relaxed) + 1 } else { stored + 1 };
            turn.set("count", count.to_string());
            Ok(Bytes::from(count.to_string()))
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        _view: &'a View,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async { Ok(Bytes::new()) }.boxed()
    }
}

/// Ten calls one after the other while the machine is killed: the last one counts ten.
fn ten_calls(forgetful: bool) -> kelpie_dst::run::Verdict {
    let kill = What::Machine { node: 0, fault: MachineFault::Kill };
    kelpie_dst::cluster(3, 1)
        .actors(move |_| vec![Tally::actor(forgetful)])
        .faults(vec![Fault { at_ms: 450, for_ms: 50, what: kill }])
        .client(|client| async move {
            let mut last = None;
            for _ in 0..10 {
                client.env().sleep(std::time::Duration::from_millis(100)).await;
                last = Some(client.call("tally", "a", "count", "").await);
            }
            assert_eq!(last, Some(Ended::Reply("10".to_owned())));
        })
        .run()
}

#[test]
fn sim_an_actor_that_keeps_its_state_in_records_survives() {
    assert_eq!(ten_calls(false).violations, []);
}

#[test]
fn sim_an_actor_that_keeps_its_state_in_memory_is_found_out() {
    let verdict = ten_calls(true);
    assert_eq!(verdict.violations.len(), 1, "{:?}", verdict.violations);
    assert_eq!(verdict.violations[0].invariant, "NoPanic");
    assert!(verdict.violations[0].what.contains("client"), "{:?}", verdict.violations);
}

/// Takes steps by what the memory of its process says, or the turn itself.
struct Steps {
    way: &'static str,
    memory: AtomicU64,
}

impl Actor for Steps {
    fn actor_type(&self) -> &str {
        "steps"
    }

    fn is_read(&self, _operation: &str) -> bool {
        false
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            let drawn = turn.random_u64().to_le_bytes();
            turn.step("first", &drawn, |_| async { Ok(Bytes::from_static(b"done")) }).await?;
            let seen = self.memory.fetch_add(1, Ordering::Relaxed).to_string();
            match self.way {
                "name" => {
                    turn.step(("next", seen.as_str()), b"", |_| async { Ok(Bytes::new()) }).await?;
                }
                "input" => {
                    turn.step_once("next", seen.as_bytes(), |_| async { Ok(Bytes::new()) }).await?;
                }
                "fewer" if seen == "0" => {
                    turn.step("next", b"", |_| async { Ok(Bytes::new()) }).await?;
                }
                "state" => turn.set("seen", seen),
                "answer" => return Ok(Bytes::from(seen)),
                _ => turn.set("drawn", drawn.to_vec()),
            }
            Ok(Bytes::from(turn.now_ms().to_string()))
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        _view: &'a View,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async { Ok(Bytes::new()) }.boxed()
    }
}

#[test]
fn sim_a_handler_that_does_not_repeat_itself_is_told_by_the_name_of_its_step() {
    let run = |way| {
        kelpie_dst::cluster(4, 1)
            .actors(move |_| vec![Arc::new(Steps { way, memory: AtomicU64::new(0) }) as Arc<dyn Actor>])
            .client(|client| async move {
                let ended = client.call("steps", "a", "go", "").await;
                assert!(matches!(ended, Ended::Reply(_)), "{ended:?}");
            })
            .run()
    };
    let sound = run("sound");
    assert_eq!((sound.violations, sound.replayed), (vec![], 1));
    for (way, said) in [
        ("name", "step `next[1]` was not asked for before"),
        ("input", "step `next` has another input"),
        ("fewer", "step `next` was asked for before"),
        ("state", "its state is another one"),
        ("answer", "its answer is another one"),
    ] {
        let verdict = run(way);
        assert_eq!(verdict.violations.len(), 1, "{way}: {:?}", verdict.violations);
        assert_eq!(verdict.violations[0].invariant, "TurnsRepeat");
        let told = format!("`go` of steps does not repeat itself: {said}");
        assert_eq!(verdict.violations[0].what, told, "{way}");
    }
}

#[test]
fn sim_a_cluster_of_a_users_actors_is_one_run_for_a_seed() {
    let run = |seed| {
        kelpie_dst::cluster(seed, 3)
            .embedded()
            .actors(|_| vec![Tally::actor(false)])
            .swarm(4_000)
            .client(|client| async move {
                for _ in 0..5 {
                    client.call("tally", "a", "count", "").await;
                }
            })
            .run()
    };
    for seed in 0..5 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first.violations, [], "seed {seed}");
        assert_eq!((first.trace_hash, first.events), (second.trace_hash, second.events), "seed {seed}");
    }
    assert_ne!(run(0).trace_hash, run(1).trace_hash);
}
