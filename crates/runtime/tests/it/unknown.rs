//! A store that loses answers: each key still has its effect once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{join, join_all};
use kelpie_core::advice::Advice;
use kelpie_runtime::Runtime;

use crate::actors::{Counter, Outside};
use crate::world::{World, actor, bytes, call, call_with_key};

/// Adds one with each of twenty keys, again until the store has taken it. Returns the total.
fn add_over_a_lossy_store(seed: u64) -> u64 {
    let world = World::lossy(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let all = (0..20).map(|i| add_until_taken(&runtime, i));
        let mut replies = join_all(all).await;
        replies.sort_unstable();
        replies.dedup();
        if replies.len() != 20 {
            return 0;
        }
        // Whatever was in flight has landed by now, or never will.
        runtime.env().sleep(std::time::Duration::from_secs(1)).await;
        let total = loop {
            if let Ok(total) = call(&runtime, &a, "get", "").await {
                break total;
            }
        };
        let stored = runtime.view(&a).get(b"total").await.unwrap().unwrap();
        assert_eq!(crate::world::number(&stored), total, "seed {seed}: a read differs from the store");
        total
    })
}

async fn add_until_taken(runtime: &Runtime, i: u64) -> u64 {
    let a = actor("counter", "a");
    loop {
        match call_with_key(runtime, &a, "add", bytes(1), &format!("k{i}")).await {
            Ok(reply) => return reply,
            Err(error) => assert!(matches!(error.advice(), Advice::NotRun | Advice::Unknown), "{error}"),
        }
    }
}

#[test]
fn lost_answers_are_settled_by_a_write() {
    for seed in 0..100 {
        assert_eq!(add_over_a_lossy_store(seed), 20, "seed {seed}");
    }
}

/// Adds one with each of twenty keys, each just once. Returns how many were told that it
/// happened, and how often it did.
fn believe_every_answer(seed: u64) -> (u64, u64) {
    let world = World::lossy(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let all = (0..20).map(|i| {
            let (runtime, a) = (&runtime, &a);
            async move { call_with_key(runtime, a, "add", bytes(1), &format!("k{i}")).await }
        });
        let replies = join_all(all).await;
        let definite = |reply: &Result<_, kelpie_runtime::CallError>| match reply {
            Ok(_) => true,
            Err(error) => error.advice() == Advice::NotRun,
        };
        assert!(replies.iter().all(definite), "seed {seed}: {replies:?}");
        runtime.env().sleep(std::time::Duration::from_secs(1)).await;
        let total = runtime.view(&a).get(b"total").await.unwrap().unwrap_or_default();
        (replies.iter().filter(|reply| reply.is_ok()).count() as u64, crate::world::number(&total))
    })
}

#[test]
fn what_was_told_not_to_have_happened_never_happens() {
    for seed in 0..1_000 {
        let (told, happened) = believe_every_answer(seed);
        assert_eq!(told, happened, "seed {seed}");
    }
}

/// One turn with three recorded steps, called once, and in every second world another turn
/// after it. Returns whether all is as it was told, once what was owed has had its time in
/// this life of the node and in the next. The store may be `away` now and then while the call
/// is answered.
fn believe_a_turn_with_steps(seed: u64, away: bool) -> bool {
    let outside = Arc::new(Outside::default());
    let world = World::lossy(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::with(&world.node.env(), &outside)).await;
        let a = actor("counter", "a");
        world.away.store(away, Ordering::Relaxed);
        let told = call_with_key(&runtime, &a, "steps", bytes(1), "k").await;
        world.away.store(false, Ordering::Relaxed);
        let others = seed % 2;
        if others == 1 {
            add_until_taken(&runtime, 7).await;
        }
        runtime.env().sleep(Duration::from_secs(10)).await;
        let runtime = world.restart(|env| Counter::with(env, &outside)).await;
        runtime.env().sleep(Duration::from_secs(20)).await;
        let total = runtime.view(&a).get(b"total").await.unwrap().unwrap_or_default();
        let by_steps = crate::world::number(&total) - others;
        let steps = outside.effects.lock().unwrap().len();
        match told {
            Ok(_) => by_steps == 1 && steps == 3,
            Err(error) if error.advice() == Advice::NotRun => by_steps == 0,
            // It had begun, so it ends.
            Err(_) => steps == 0 || by_steps == 1,
        }
    })
}

#[test]
fn a_turn_with_recorded_steps_is_never_refused_as_not_run() {
    let wrong: Vec<u64> = (0..400).filter(|&seed| !believe_a_turn_with_steps(seed, false)).collect();
    assert!(wrong.is_empty(), "seeds {wrong:?}");
}

/// Where the next activation cannot be loaded, or cannot begin the turn again, nobody knows
/// there whether it will be resumed.
#[test]
fn a_turn_under_way_is_never_denied_while_the_store_is_away() {
    let wrong: Vec<u64> = (0..400).filter(|&seed| !believe_a_turn_with_steps(seed, true)).collect();
    assert!(wrong.is_empty(), "seeds {wrong:?}");
}

/// Adds and reads over a store that loses answers. Returns whether a read told less than what
/// the store had shown before the read was asked for.
fn a_read_goes_back(seed: u64) -> bool {
    let world = World::lossy(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let adds = async {
            for i in 0..20 {
                add_until_taken(&runtime, i).await;
            }
        };
        let reads = async {
            let mut back = false;
            for _ in 0..100 {
                runtime.env().sleep(Duration::from_micros(runtime.env().random_u64() % 500)).await;
                let shown = runtime.view(&a).get(b"total").await.unwrap();
                let shown = shown.map_or(0, |total| crate::world::number(&total));
                back |= call(&runtime, &a, "get", "").await.is_ok_and(|read| read < shown);
            }
            back
        };
        join(adds, reads).await.1
    })
}

#[test]
fn a_read_is_not_older_than_what_the_store_has_shown() {
    assert_eq!((0..100).find(|&seed| a_read_goes_back(seed)), None);
}

/// Adds, while many read at once over a store that takes its time. Returns whether a read told less
/// than what the store had shown before the read was asked for.
fn a_read_among_many_goes_back(seed: u64) -> bool {
    let world = World::slow_to_answer(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let adds = async {
            for i in 0..10 {
                add_until_taken(&runtime, i).await;
            }
        };
        let reads = join_all((0..4).map(|_| async {
            let mut back = false;
            for _ in 0..20 {
                runtime.env().sleep(Duration::from_micros(runtime.env().random_u64() % 300)).await;
                let shown = runtime.view(&a).get(b"total").await.unwrap();
                let shown = shown.map_or(0, |total| crate::world::number(&total));
                back |= call(&runtime, &a, "get", "").await.unwrap() < shown;
            }
            back
        }));
        join(adds, reads).await.1.contains(&true)
    })
}

#[test]
fn a_read_takes_no_word_of_a_check_that_began_before_it() {
    assert_eq!((0..50).find(|&seed| a_read_among_many_goes_back(seed)), None);
}

/// Turns with steps and turns without, all at once and without keys. Returns how many were
/// told that they happened, how many were told nothing certain, and how many did happen.
fn believe_without_keys(seed: u64) -> (u64, u64, u64) {
    let world = World::lossy(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let operations = ["steps", "add", "steps", "add", "add", "steps"];
        let replies = join_all(operations.map(|operation| call(&runtime, &a, operation, bytes(1)))).await;
        runtime.env().sleep(Duration::from_secs(20)).await;
        let total = runtime.view(&a).get(b"total").await.unwrap().unwrap_or_default();
        let unsure = |reply: &Result<_, kelpie_runtime::CallError>| {
            reply.as_ref().is_err_and(|error| error.advice() == Advice::Unknown)
        };
        let told = replies.iter().filter(|reply| reply.is_ok()).count() as u64;
        let open = replies.iter().filter(|reply| unsure(reply)).count() as u64;
        (told, open, crate::world::number(&total))
    })
}

#[test]
fn a_call_without_a_key_that_is_asked_again_has_its_effect_once() {
    for seed in 0..400 {
        let (told, open, happened) = believe_without_keys(seed);
        assert!(
            (told..=told + open).contains(&happened),
            "seed {seed}: {told} told, {open} open, {happened} happened"
        );
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::{
        a_read_among_many_goes_back, a_read_goes_back, add_over_a_lossy_store, believe_a_turn_with_steps,
        believe_every_answer,
    };

    #[test]
    fn a_read_whose_check_leaves_out_the_sequence_is_caught() {
        let _armed = kelpie_core::mutant::arm("read_checks_epoch_only");
        assert!((0..400).any(a_read_goes_back));
    }

    #[test]
    fn a_read_that_joins_a_check_is_caught() {
        let _armed = kelpie_core::mutant::arm("read_joins_a_check");
        assert!((0..50).any(a_read_among_many_goes_back));
    }

    #[test]
    fn refusing_a_turn_with_recorded_steps_is_caught() {
        let _armed = kelpie_core::mutant::arm("refused_after_step");
        assert!((0..400).any(|seed| !believe_a_turn_with_steps(seed, false)));
    }

    #[test]
    fn forgetting_that_a_turn_had_begun_is_caught() {
        let _armed = kelpie_core::mutant::arm("begun_forgotten");
        assert!((0..400).any(|seed| !believe_a_turn_with_steps(seed, true)));
    }

    fn caught(name: &'static str) -> bool {
        let _armed = kelpie_core::mutant::arm(name);
        (0..3000).any(|seed| {
            let found = std::panic::catch_unwind(|| {
                let (told, happened) = believe_every_answer(seed);
                told == happened && add_over_a_lossy_store(seed) == 20
            });
            !found.unwrap_or(false)
        })
    }

    #[test]
    fn settling_by_a_look_is_caught() {
        assert!(caught("settle_by_look"));
    }

    #[test]
    fn an_activation_dropped_with_its_commit_in_flight_needs_the_sequence() {
        assert!(caught("drop_in_flight_without_seq_check"));
    }

    #[test]
    fn a_reply_before_its_commit_is_caught() {
        assert!(caught("reply_before_commit"));
    }
}
