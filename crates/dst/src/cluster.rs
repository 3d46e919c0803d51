//! A cluster in one thread: machines that run production code over one store, clients that
//! call them, and an environment that does its worst.

mod client;
mod frail;
mod machine;
mod operator;
mod place;
mod program;
mod replays;
mod wire;

use std::sync::Arc;

use kelpie_cluster::{Protocols, SecretKey, Security};
use kelpie_core::id::NodeId;
use kelpie_env::sim::{Node, Sim};

pub use client::Client;
pub use place::{Joined, Place};
pub use program::{Actors, Process, Program, Request};
pub use replays::Replayed;
pub use wire::Outcome;

use crate::invariant::Invariants;
use crate::schedule::{Peers, Schedule, rack};

pub(crate) use client::{Clients, PROBER};
pub(crate) use machine::{Connect, Machine};
use machine::{PEERS, Places};
pub(crate) use operator::{supervise, watch};
pub(crate) use program::{PEEK, Running};

/// The name of machine number `number`.
pub(crate) fn name(number: u32) -> NodeId {
    NodeId::new(&format!("n{number}")).expect("a short name of letters and digits")
}

/// The secret of a cluster that has one.
const SECRET: &[u8] = b"known to all of the nodes";

/// The versions of the protocol between nodes that the first process of a machine speaks: those of
/// this build, or where this one is the old one, also a version that is still to come.
fn spoken(schedule: &Schedule, number: u32) -> Protocols {
    let now = Protocols::default();
    let is_new = !schedule.old_builds.is_empty() && !schedule.old_builds.contains(&number);
    if is_new { next(now) } else { now }
}

/// What the build after one speaks that speaks these.
fn next(protocols: Protocols) -> Protocols {
    Protocols { max: protocols.max + 1, ..protocols }
}

/// Adds a machine to a world, as the schedule has it. It is not started.
pub(crate) fn machine(
    sim: &Sim,
    simulated_name: &str,
    number: u32,
    schedule: &Schedule,
    program: Arc<dyn Program>,
    connect: Connect,
    invariants: Arc<Invariants>,
) -> Machine {
    let (simulated, node): (Node, _) = (sim.node(simulated_name), name(number));
    let mut runtime = kelpie_runtime::Options::alone(node.as_str()).expect("a node's own name is a name");
    runtime.node.capacity = schedule.capacity;
    runtime.node.labels.insert(rack(number.into()));
    (runtime.placement, runtime.rebalance) = (schedule.placing.strategy, schedule.placing.rebalance());
    let place = match schedule.peers {
        Peers::Alone => Place::Alone(runtime),
        Peers::Secret => {
            let security = Security::Secret(SecretKey::new(SECRET).expect("it is long enough"));
            let listen = (simulated.ip(), PEERS).into();
            let protocols = spoken(schedule, number);
            Place::Among(kelpie_cluster::Options { runtime, listen, advertise: None, security, protocols })
        }
    };
    let later = if schedule.old_builds.contains(&number) { place.clone().upgraded() } else { place.clone() };
    Machine::new(simulated, program, Places { first: place, later }, schedule.balanced, connect, invariants)
}
