//! Clients that ask again until they have their answers, while nodes die, stand still, are cut
//! off and leave.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use kelpie_core::advice::Advice;
use kelpie_core::call::IdempotencyKey;
use kelpie_core::id::ActorId;
use kelpie_dst::service::StoreFaults;
use kelpie_env::sim::{Options, Sim, same_twice};
use kelpie_runtime::{Call, CallError};
use tokio::sync::oneshot;

use crate::counter::actor;
use crate::world::World;

const ACTORS: u64 = 6;
const CLIENTS: u64 = 6;
const SECOND: Duration = Duration::from_secs(1);

/// Numbers from a seed. (SplitMix64, Steele et al., OOPSLA 2014.)
struct Numbers(Cell<u64>);

impl Numbers {
    fn below(&self, end: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let mut mixed = self.0.get();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn node(&self) -> usize {
        usize::try_from(self.below(3)).unwrap()
    }

    fn time(&self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(from_ms + self.below(to_ms - from_ms))
    }
}

/// Calls by a task of the node. Nothing, when the node dies under it.
async fn call(world: &World<'_>, through: usize, call: Call) -> Option<Result<Bytes, CallError>> {
    let runtime = world.running(through)?.runtime().clone();
    let (tell, told) = oneshot::channel();
    let env = runtime.env().clone();
    env.spawn("client", async move {
        // A client that has given up does not listen.
        drop(tell.send(runtime.call(call).await));
    });
    let patience = world.service.node().env();
    patience.timeout(10 * SECOND, told).await.ok()?.ok()
}

/// Adds one, and asks again with the same key until it is certain.
async fn add(world: &World<'_>, numbers: &Numbers, to: &ActorId, key: &str) {
    let operation = if numbers.below(4) == 0 { "add slowly" } else { "add" };
    let asked =
        Call::new(to.clone(), operation, "").key(IdempotencyKey::new(key).unwrap()).deadline(8 * SECOND);
    loop {
        match call(world, numbers.node(), asked.clone()).await {
            Some(Ok(_)) => return,
            Some(Err(error)) => {
                assert!(matches!(error.advice(), Advice::NotRun | Advice::Unknown), "{error:?}")
            }
            None => {}
        }
        world.sleep(numbers.time(10, 300)).await;
    }
}

async fn client(world: &World<'_>, numbers: &Numbers, client: u64, until: Duration) -> u64 {
    let mut added = 0;
    while world.now() < until {
        let to = actor(format!("c{}", numbers.below(ACTORS)));
        add(world, numbers, &to, &format!("{client}-{added}")).await;
        added += 1;
        world.sleep(numbers.time(1, 100)).await;
    }
    added
}

/// Something goes wrong, for a while.
async fn trouble(world: &World<'_>, numbers: &Numbers) {
    let (one, other) = (numbers.node(), numbers.node());
    let [a, b] = [one, other].map(|index| &world.machines[index]);
    match numbers.below(6) {
        0 => {
            world.kill(one);
            world.sleep(numbers.time(1, 6_000)).await;
            restart(world, one).await;
        }
        1 => {
            a.pause();
            world.sleep(numbers.time(100, 12_000)).await;
            a.resume();
        }
        2 if one != other => {
            world.sim.partition_one_way(a, b);
            world.sleep(numbers.time(100, 12_000)).await;
            world.sim.heal_all();
        }
        3 if one != other => {
            world.sim.partition(a, b);
            world.sleep(numbers.time(100, 12_000)).await;
            world.sim.heal_all();
        }
        4 => {
            if let Some(node) = world.running(one) {
                let drained = node.drain(5 * SECOND).await;
                assert!(drained.left.is_ok() || drained.cut_off > 0, "{drained:?}");
            }
            world.kill(one);
            restart(world, one).await;
        }
        _ => {
            let faults = StoreFaults {
                conflict_ppm: 50_000,
                lost_commit_ppm: 30_000,
                lost_answer_ppm: 30_000,
                late_commit_ppm: 30_000,
                late_commit_max: 4 * SECOND,
                unavailable_ppm: 50_000,
                ..StoreFaults::default()
            };
            world.service.set_faults(faults);
            world.sleep(numbers.time(100, 4_000)).await;
            world.service.set_faults(StoreFaults::default());
        }
    }
}

/// Until it is in: its former process may be taken for alive for a while.
async fn restart(world: &World<'_>, index: usize) {
    let mut started = world.restart(index).await;
    while started.is_err() {
        world.sleep(SECOND).await;
        started = world.start(index).await;
    }
}

/// How much was added, and what the counters say.
fn churn(sim: &Sim, seed: u64) -> (u64, u64) {
    sim.block_on(async {
        let world = Box::pin(World::new(sim, 3)).await;
        let numbers = Numbers(Cell::new(seed));
        let until = world.now() + 25 * SECOND;
        let troubles = async {
            while world.now() < until {
                world.sleep(numbers.time(100, 3_000)).await;
                trouble(&world, &numbers).await;
            }
        };
        let clients = join_all((0..CLIENTS).map(|number| client(&world, &numbers, number, until)));
        let (added, ()) = futures::join!(clients, troubles);
        // All is well again, and has been for a while: every counter answers.
        world.sleep(10 * SECOND).await;
        let mut total = 0;
        for number in 0..ACTORS {
            let actor = actor(format!("c{number}"));
            add(&world, &numbers, &actor, "last").await;
            let got = world.call(0, &actor, "get", "").await;
            total += got.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        (added.iter().sum::<u64>() + ACTORS, total)
    })
}

#[test]
fn no_addition_is_lost_or_doubled_whatever_happens_to_nodes() {
    let seeds = if std::env::var_os("KELPIE_TEST_FULL").is_some() { 100 } else { 12 };
    for seed in 0..seeds {
        let (added, total) = churn(&Sim::new(seed), seed);
        assert_eq!(total, added, "seed {seed}");
        assert!(added > 100, "seed {seed}: {added}");
    }
}

#[test]
fn a_churn_repeats_itself() {
    same_twice(&Options::new(3), |sim| churn(sim, 3));
}
