//! One turn at a time, all of it or nothing, and reads beside it.

use futures::future::join_all;
use kelpie_runtime::CallError;

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call, call_with_key};

#[test]
fn every_addition_counts_once_whatever_the_order() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let runtime = world.start(Counter::all(&world.node.env())).await;
            let a = actor("counter", "a");
            let replies = join_all((0..50).map(|_| call(&runtime, &a, "add", bytes(1)))).await;
            let mut replies: Vec<u64> = replies.into_iter().map(Result::unwrap).collect();
            replies.sort_unstable();
            assert_eq!(replies, (1..=50).collect::<Vec<_>>());
            assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), 50);
        });
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    for seed in 0..50 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let runtime = world.start(Counter::all(&world.node.env())).await;
            let a = actor("counter", "a");
            let mut acknowledged = 0;
            for _ in 0..5 {
                acknowledged = call(&runtime, &a, "add", bytes(1)).await.unwrap();
            }
            let runtime = world.restart(Counter::all).await;
            assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), acknowledged);
            assert_eq!(call(&runtime, &a, "add", bytes(1)).await.unwrap(), 6);
        });
    }
}

#[test]
fn a_refusal_and_a_panic_leave_nothing_behind() {
    let world = World::new(1);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        call(&runtime, &a, "add", bytes(1)).await.unwrap();
        let refused = call(&runtime, &a, "refuse", bytes(5)).await.unwrap_err();
        assert!(matches!(refused, CallError::App { code, .. } if code == "counter.refused"));
        let beside = call(&runtime, &a, "add", bytes(1));
        let panicked = call(&runtime, &a, "panic", bytes(5));
        let (panicked, beside) = futures::join!(panicked, beside);
        assert!(matches!(panicked, Err(CallError::Panicked)), "{panicked:?}");
        assert_eq!(beside.unwrap(), 2);
        assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), 2);
    });
}

#[test]
fn a_read_does_not_wait_for_a_turn_that_waits() {
    let world = World::new(3);
    world.sim.block_on(async {
        let env = world.node.env();
        let runtime = world.start(Counter::all(&env)).await;
        let a = actor("counter", "a");
        call(&runtime, &a, "add", bytes(1)).await.unwrap();
        let slow = async {
            let total = call(&runtime, &a, "add slowly", bytes(1)).await.unwrap();
            (total, env.now())
        };
        let read = async {
            env.sleep(std::time::Duration::from_millis(10)).await;
            (call(&runtime, &a, "get", "").await.unwrap(), env.now())
        };
        let ((total, slow_at), (seen, read_at)) = futures::join!(slow, read);
        assert_eq!((total, seen), (2, 1));
        assert!(read_at < slow_at);
    });
}

#[test]
fn values_above_the_stores_limit_come_back_whole_and_leave_nothing_when_they_shrink() {
    let world = World::new(4);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        for size in [300_000, 90_000, 90_001, 10] {
            call(&runtime, &a, "large", bytes(size)).await.unwrap();
            assert_eq!(call(&runtime, &a, "rows", "").await.unwrap(), size);
        }
        let chunks = kelpie_storage::RangeQuery::prefix(b"chunk/");
        assert_eq!(world.store().begin().get_range(chunks).await.unwrap().rows.len(), 0);
        let error = call(&runtime, &a, "large", bytes(5 << 20)).await.unwrap_err();
        assert!(matches!(error, CallError::Handler(_)), "{error:?}");
    });
}

#[test]
fn calls_that_cannot_be_served_say_so() {
    let world = World::new(5);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let unknown_type = call(&runtime, &actor("nobody", "x"), "add", bytes(1)).await;
        assert!(matches!(unknown_type, Err(CallError::NoSuchType { .. })));
        let a = actor("counter", "a");
        let too_large = call(&runtime, &a, "add", vec![0; 3 << 20]).await;
        assert!(matches!(too_large, Err(CallError::TooLarge { .. })));
        let myself = call(&runtime, &a, "call myself", bytes(1)).await.unwrap_err();
        let chain = format!("{:?}", myself);
        assert!(chain.contains("default/counter/a -> default/counter/a"), "{chain}");
    });
}

#[test]
fn a_full_mailbox_refuses_and_the_rest_goes_on() {
    let world = World::new(6);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let calls = (0..1_100).map(|_| call(&runtime, &a, "add slowly", bytes(1)));
        let replies = join_all(calls).await;
        let full = replies.iter().filter(|reply| matches!(reply, Err(CallError::MailboxFull))).count();
        let served = replies.iter().filter(|reply| reply.is_ok()).count();
        assert_eq!(full + served, 1_100);
        assert!(full >= 75, "{full}");
        assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), served as u64);
    });
}

#[test]
fn idle_activations_leave_memory_and_come_back_without_a_write() {
    let world = World::new(7);
    world.sim.block_on(async {
        let env = world.node.env();
        let runtime = world.start(Counter::all(&env)).await;
        let a = actor("counter", "a");
        call_with_key(&runtime, &a, "add", bytes(1), "k").await.unwrap();
        let own = world.store().begin().get(&kelpie_core::row::own(&a)).await.unwrap();
        env.sleep(std::time::Duration::from_secs(30)).await;
        assert_eq!(runtime.activations(), 0);
        assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), 1);
        assert_eq!(world.store().begin().get(&kelpie_core::row::own(&a)).await.unwrap(), own);
        assert_eq!(runtime.activations(), 1);
    });
}
