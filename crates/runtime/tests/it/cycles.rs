//! Actors that wait for each other, from different roots.

use std::time::Duration;

use futures::future::join_all;
use kelpie_core::advice::Advice;
use kelpie_runtime::{CallError, Runtime};

use crate::actors::Counter;
use crate::world::{World, actor, call, key};

/// Passes `path` on: each actor adds one, waits a little, and calls the next.
async fn walk(runtime: &Runtime, path: &str) -> Result<u64, CallError> {
    let (first, rest) = path.split_once(' ').unwrap_or((path, ""));
    let call = kelpie_runtime::Call::new(actor("counter", first), "walk", rest.to_owned());
    runtime.call(call.key(key(path))).await.map(|reply| crate::world::number(&reply))
}

/// The actors `c0`, `c1`, … that a call was refused for, the one that closes the circle included.
fn circle_of(refused: &CallError) -> Vec<u64> {
    let said = refused.to_string();
    let circle = said.strip_prefix("turns wait for each other, and this call gave way: ").expect(&said);
    let number = |name: &str| name.strip_prefix("default/counter/c")?.parse().ok();
    circle.split(" -> ").map(|name| number(name).expect(&said)).collect()
}

#[test]
fn turns_that_wait_for_each_other_are_found_and_one_gives_way() {
    for seed in 0..20 {
        for size in 2..6 {
            let world = World::new(seed);
            world.sim.block_on(async {
                let runtime = world.start(Counter::all(&world.node.env())).await;
                let paths = (0..size).map(|i| format!("c{i} c{}", (i + 1) % size));
                let start = runtime.env().now();
                let replies = join_all(paths.map(|path| async {
                    let reply = walk(&runtime, &path).await;
                    (reply, path)
                }))
                .await;
                let took = runtime.env().now() - start;
                assert!(took < Duration::from_secs(1), "seed {seed}, {size}: {took:?}");
                let refused: Vec<_> = replies.iter().filter_map(|(reply, _)| reply.as_ref().err()).collect();
                let [refused] = refused[..] else { panic!("seed {seed}, {size}: {refused:?}") };
                assert_eq!(
                    (refused.code(), refused.advice()),
                    ("call.deadlock", Advice::NotRun),
                    "{refused:?}"
                );
                let circle = circle_of(refused);
                assert_eq!(circle.len() as u64, size + 1, "seed {seed}: {circle:?}");
                for (waits, next) in circle.iter().zip(&circle[1..]) {
                    assert_eq!(*next, (waits + 1) % size, "seed {seed}: {circle:?}");
                }
                // Nothing of it happened, so that it can be asked again.
                for (_, path) in replies.iter().filter(|(reply, _)| reply.is_err()) {
                    walk(&runtime, path).await.unwrap();
                }
                let mut total = 0;
                for i in 0..size {
                    total += call(&runtime, &actor("counter", &format!("c{i}")), "get", "").await.unwrap();
                }
                assert_eq!(total, 2 * size, "seed {seed}");
            });
        }
    }
}

#[test]
fn long_waits_without_a_circle_are_left_alone() {
    let world = World::new(1);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let paths = ["x a b c d", "y b c d", "a b c d", "b c d", "z c d", "c d", "w d"];
        let replies = join_all(paths.map(|path| walk(&runtime, path))).await;
        for (path, reply) in paths.iter().zip(replies) {
            reply.unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        assert_eq!(call(&runtime, &actor("counter", "d"), "get", "").await.unwrap(), 7);
    });
}

#[test]
fn sixteen_actors_call_each_other_in_one_chain_and_seventeen_do_not() {
    let world = World::new(1);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let path = |actors: usize| (1..=actors).map(|n| format!("d{n}")).collect::<Vec<_>>().join(" ");
        let totals = async || {
            let mut totals = Vec::new();
            for n in 1..=17 {
                totals.push(call(&runtime, &actor("counter", &format!("d{n}")), "get", "").await.unwrap());
            }
            totals
        };
        walk(&runtime, &path(16)).await.unwrap();
        let added = totals().await;
        assert_eq!(added, [vec![1; 16], vec![0]].concat());
        let refused = walk(&runtime, &path(17)).await.unwrap_err();
        let mut cause: &dyn std::error::Error = &refused;
        while let Some(source) = cause.source() {
            cause = source;
        }
        assert_eq!(cause.to_string(), "the call chain is deeper than 16 actors");
        assert_eq!((refused.advice(), totals().await), (Advice::Fix, added), "nothing of it was kept");
    });
}

#[test]
fn a_turn_that_called_somebody_before_it_gave_way_may_have_happened() {
    let world = World::new(2);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let (a, b) = (actor("counter", "a"), actor("counter", "b"));
        let both = |first: &'static str, then: &'static str| {
            let payload = format!("{first} {then}");
            let from = if then == "b" { &a } else { &b };
            runtime.call(kelpie_runtime::Call::new(from.clone(), "visit", payload))
        };
        let replies = futures::join!(both("p", "b"), both("q", "a"));
        let refused = [replies.0, replies.1].into_iter().find_map(Result::err).unwrap();
        assert_eq!(refused.advice(), Advice::Unknown, "{refused:?}");
    });
}
