//! Nobody keeps others out, and memory is bounded.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use kelpie_core::call::Caller;
use kelpie_core::id::{ActorId, Boot, Epoch, Incarnation, NodeId};
use kelpie_core::ownership::Own;
use kelpie_core::session::{Protocols, Session, SessionState};
use kelpie_core::{record, row};
use kelpie_runtime::{Call, CallError, CallLimits, Options, Rate, Runtime};

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call, number};

fn who(name: &str) -> Caller {
    Caller::Principal { tenant: "default".into(), principal: name.into() }
}

async fn call_as(runtime: &Runtime, name: &str, to: &ActorId, operation: &str) -> Result<u64, CallError> {
    let call = Call::new(to.clone(), operation, bytes(1)).caller(who(name));
    runtime.call(call).await.map(|reply| number(&reply))
}

fn options(call_limits: CallLimits) -> Options {
    Options { call_limits, ..Options::alone("n1").unwrap() }
}

fn rate(per_second: u32, burst: u32) -> Option<Rate> {
    let number = |number| NonZeroU32::new(number).unwrap();
    Some(Rate { per_second: number(per_second), burst: number(burst) })
}

#[test]
fn who_calls_little_does_not_wait_behind_who_calls_much() {
    let world = World::new(1);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let start = runtime.env().now();
        let much = join_all((0..1_025).map(|_| call_as(&runtime, "much", &a, "add slowly")));
        let little = async {
            runtime.env().sleep(Duration::from_millis(10)).await;
            let reply = call_as(&runtime, "little", &a, "add slowly").await;
            (reply, runtime.env().now() - start)
        };
        let (much, (reply, after)) = futures::join!(much, little);
        reply.unwrap();
        // Behind the one that ran, and at most one more.
        assert!(after < Duration::from_millis(160), "{after:?}");
        let full = much.iter().filter(|reply| matches!(reply, Err(CallError::MailboxFull))).count();
        assert_eq!(full, 1, "its last call made room");
        assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), 1_025);
    });
}

#[test]
fn rates_hold_for_each_caller_and_each_actor_and_say_when_to_come_again() {
    let world = World::new(2);
    world.sim.block_on(async {
        let limits =
            CallLimits { caller_rate: rate(10, 5), actor_rate: rate(100, 8), ..CallLimits::default() };
        let runtime = world.start_with(options(limits), Counter::all(&world.node.env())).await;
        let (a, b) = (actor("counter", "a"), actor("counter", "b"));
        let taken = async |name: &str, to: &ActorId| {
            let mut taken = 0;
            let mut after = Duration::ZERO;
            for _ in 0..20 {
                match call_as(&runtime, name, to, "add").await {
                    Ok(_) => taken += 1,
                    Err(CallError::TooMany { retry_after, .. }) => after = retry_after,
                    Err(error) => panic!("{error}"),
                }
            }
            (taken, after)
        };
        let (one, after) = taken("one", &a).await;
        assert_eq!(one, 5);
        assert!(after > Duration::from_millis(90) && after <= Duration::from_millis(100), "{after:?}");
        assert_eq!(taken("two", &a).await.0, 3, "the actor's own limit");
        assert_eq!(taken("three", &b).await.0, 5);
        runtime.env().sleep(Duration::from_millis(300)).await;
        assert_eq!(taken("one", &b).await.0, 3);
    });
}

#[test]
fn calls_at_once_are_counted_until_they_end() {
    let world = World::new(3);
    world.sim.block_on(async {
        let limits = CallLimits { caller_calls_at_once: NonZeroU32::new(3), ..CallLimits::default() };
        let runtime = world.start_with(options(limits), Counter::all(&world.node.env())).await;
        for _ in 0..3 {
            let all = (0..5).map(|i| {
                let (runtime, to) = (&runtime, actor("counter", &format!("a{i}")));
                async move { call_as(runtime, "one", &to, "add slowly").await }
            });
            let other = actor("counter", "a");
            let (replies, other) = futures::join!(join_all(all), call_as(&runtime, "two", &other, "add"));
            other.unwrap();
            let refused = |reply: &&Result<u64, CallError>| matches!(reply, Err(CallError::TooMany { .. }));
            assert_eq!(replies.iter().filter(refused).count(), 2);
            assert_eq!(replies.iter().filter(|reply| reply.is_ok()).count(), 3);
        }
    });
}

#[test]
fn calls_to_one_actor_at_once_are_counted_whoever_makes_them() {
    let world = World::new(3);
    world.sim.block_on(async {
        let limits = CallLimits { actor_calls_at_once: NonZeroU32::new(3), ..CallLimits::default() };
        let runtime = world.start_with(options(limits), Counter::all(&world.node.env())).await;
        let (a, b) = (actor("counter", "a"), actor("counter", "b"));
        for round in 1..=3 {
            let all = (0..5).map(|i| {
                let (runtime, a) = (&runtime, &a);
                async move { call_as(runtime, &format!("caller {i}"), a, "add slowly").await }
            });
            let (replies, beside) = futures::join!(join_all(all), call_as(&runtime, "caller 0", &b, "add"));
            beside.unwrap();
            let refused: Vec<_> = replies.iter().filter_map(|reply| reply.as_ref().err()).collect();
            assert_eq!(refused.len(), 2, "round {round}");
            for refused in refused {
                let said = "too many calls to this actor at once: try again in 100 ms";
                assert_eq!((refused.code(), refused.to_string().as_str()), ("call.too_many", said));
            }
            assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), 3 * round);
        }
    });
}

#[test]
fn a_call_that_its_actor_refuses_costs_its_caller_nothing() {
    let often = CallLimits { actor_rate: rate(1, 1), ..CallLimits::default() };
    let at_once = CallLimits { actor_calls_at_once: NonZeroU32::new(1), ..CallLimits::default() };
    for limits in [often, at_once] {
        let world = World::new(2);
        world.sim.block_on(async {
            let limits = CallLimits {
                caller_rate: rate(1, 3),
                caller_calls_at_once: NonZeroU32::new(3),
                ..limits.clone()
            };
            let runtime = world.start_with(options(limits), Counter::all(&world.node.env())).await;
            let busy = actor("counter", "busy");
            let refused = async {
                for _ in 0..10 {
                    let refused = call_as(&runtime, "one", &busy, "add").await;
                    assert!(matches!(refused, Err(CallError::TooMany { .. })), "{refused:?}");
                }
            };
            let (kept_busy, ()) = futures::join!(call_as(&runtime, "two", &busy, "add slowly"), refused);
            kept_busy.unwrap();
            // All that it may call, at once and for some time.
            let others = ["a", "b", "c"].map(|name| actor("counter", name));
            let replies = join_all(others.iter().map(|to| call_as(&runtime, "one", to, "add slowly"))).await;
            assert!(replies.iter().all(Result::is_ok), "{replies:?}");
            let fourth = call_as(&runtime, "one", &actor("counter", "d"), "add").await;
            assert!(matches!(fourth, Err(CallError::TooMany { .. })), "{fourth:?}");
        });
    }
}

#[test]
fn the_longest_idle_leave_when_memory_gets_short() {
    let world = World::new(4);
    world.sim.block_on(async {
        let options = Options { cached_bytes_max: 1_000_000, ..Options::alone("n1").unwrap() };
        let runtime = world.start_with(options, Counter::all(&world.node.env())).await;
        let kept = actor("counter", "kept");
        for i in 0..50 {
            let a = actor("counter", &format!("a{i}"));
            call(&runtime, &a, "large", bytes(100_000)).await.unwrap();
            call(&runtime, &kept, "add", bytes(1)).await.unwrap();
            runtime.env().sleep(Duration::from_millis(1)).await;
            assert!(runtime.cached_bytes() <= 1_100_000, "{} bytes", runtime.cached_bytes());
        }
        let held = runtime.activations();
        assert!((2..=11).contains(&held), "{held} activations");
        let reads = runtime.inspect(&kept).await.unwrap();
        assert!(reads.turns.is_some(), "the one in use has stayed");
        runtime.env().sleep(Duration::from_secs(120)).await;
        assert_eq!((runtime.activations(), runtime.cached_bytes()), (0, 0));
        assert_eq!(call(&runtime, &kept, "get", "").await.unwrap(), 50);
    });
}

/// Six actors are called at once on a node with room for two, for longer than a turn takes.
fn room_for_two_is_room_for_two() {
    let world = World::new(4);
    world.sim.block_on(async {
        let mut options = Options::alone("n1").unwrap();
        options.node.capacity = Some(2);
        let runtime = world.start_with(options, Counter::all(&world.node.env())).await;
        let actors: Vec<ActorId> = (0..6).map(|n| actor("counter", &n.to_string())).collect();
        let called = join_all(actors.iter().map(|to| call_as(&runtime, "who", to, "add slowly")));
        let watched = async {
            let mut most = 0;
            for _ in 0..40 {
                most = most.max(runtime.activations());
                runtime.env().sleep(Duration::from_millis(1)).await;
            }
            most
        };
        let (called, most) = futures::join!(called, watched);
        assert_eq!(most, 2);
        let full = called.iter().filter(|reply| matches!(reply, Err(CallError::Full(_)))).count();
        assert_eq!((full, called.iter().filter(|reply| reply.is_ok()).count()), (4, 2), "{called:?}");
        // Idle ones make room, and whoever was refused has done nothing.
        for (n, to) in actors.iter().enumerate() {
            let expected = u64::from(called[n].is_ok());
            assert_eq!(call_as(&runtime, "who", to, "add").await.unwrap(), expected + 1);
            assert!(runtime.activations() <= 2);
        }
    });
}

#[test]
fn a_node_takes_no_more_actors_into_memory_than_it_may() {
    room_for_two_is_room_for_two();
}

fn session(boot: Boot, state: SessionState) -> Session {
    let (address, version, labels) = (String::new(), String::new(), BTreeSet::new());
    let protocols = Protocols::default();
    Session {
        incarnation: Incarnation(1),
        boot,
        state,
        address,
        version,
        protocols,
        labels,
        lease_ms: 3_000,
        capacity: None,
    }
}

/// Claims that find a live owner, and such that may not be made, on a node with room for one.
fn a_claim_that_comes_to_nothing_frees_its_place() {
    let world = World::new(5);
    world.sim.block_on(async {
        let write = async |key: Bytes, value: Bytes| {
            let mut tx = world.store().begin();
            tx.set(key, value);
            tx.commit().await.unwrap();
        };
        let mut options = Options::alone("n1").unwrap();
        options.node.capacity = Some(1);
        let runtime = world.start_with(options, Counter::all(&world.node.env())).await;
        let (me, other) = (NodeId::new("n1").unwrap(), NodeId::new("n2").unwrap());
        write(row::session(&other), record::encode(&session(Boot(7), SessionState::Active))).await;
        let theirs = actor("counter", "theirs");
        let own = Own { node: other, incarnation: Incarnation(1), boot: Boot(7), epoch: Epoch(1) };
        write(row::own(&theirs), record::encode(&own)).await;
        for _ in 0..3 {
            let refused = call(&runtime, &theirs, "add", bytes(1)).await.unwrap_err();
            assert!(matches!(&refused, CallError::NotRun { reason } if reason.contains("n2")), "{refused}");
            assert_eq!(runtime.activations(), 0);
        }
        let mine = world.store().begin().get(&row::session(&me)).await.unwrap().unwrap();
        let active: Session = record::decode(&mine).unwrap();
        let drains = Session { state: SessionState::Draining, ..active.clone() };
        write(row::session(&me), record::encode(&drains)).await;
        for _ in 0..3 {
            let refused = call(&runtime, &actor("counter", "a"), "add", bytes(1)).await.unwrap_err();
            assert!(matches!(refused, CallError::NotReady { .. }), "{refused}");
        }
        write(row::session(&me), record::encode(&active)).await;
        for key in ["a", "b"] {
            assert_eq!(call(&runtime, &actor("counter", key), "add", bytes(1)).await.unwrap(), 1);
            assert_eq!(runtime.activations(), 1, "the one before has made room");
        }
    });
}

#[test]
fn an_actor_that_could_not_be_claimed_takes_no_place() {
    a_claim_that_comes_to_nothing_frees_its_place();
}

#[cfg(feature = "mutants")]
#[test]
fn mutant_lost_claim_stays_counted() {
    let _armed = kelpie_core::mutant::arm("lost_claim_stays_counted");
    std::panic::catch_unwind(a_claim_that_comes_to_nothing_frees_its_place).unwrap_err();
}

#[cfg(feature = "mutants")]
#[test]
fn mutant_capacity_off_by_one() {
    let _armed = kelpie_core::mutant::arm("capacity_off_by_one");
    std::panic::catch_unwind(room_for_two_is_room_for_two).unwrap_err();
}
