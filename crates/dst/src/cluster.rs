//! A cluster in one thread: machines that run production code over one store, clients that
//! call them, and an environment that does its worst.

mod client;
mod frail;
mod machine;
mod operator;
mod place;
mod program;
mod wire;

use std::sync::Arc;

use kelpie_cluster::{Protocols, SecretKey, Security};
use kelpie_core::id::NodeId;
use kelpie_env::sim::{Node, Sim};

pub use client::Client;
pub use place::{Joined, Place};
pub use program::{Actors, Process, Program, Request};
pub use wire::Outcome;

use crate::invariant::Invariants;
use crate::schedule::{Peers, Schedule};

pub(crate) use client::{Clients, PROBER};
use machine::PEERS;
pub(crate) use machine::{Connect, Machine};
pub(crate) use operator::{supervise, watch};
pub(crate) use program::{PEEK, Running};

/// The name of machine number `number`.
pub(crate) fn name(number: u32) -> NodeId {
    NodeId::new(&format!("n{number}")).expect("a short name of letters and digits")
}

/// The secret of a cluster that has one.
const SECRET: &[u8] = b"known to all of the nodes";

/// Adds a machine to a world, as the schedule has it. It is not started.
pub(crate) fn machine(
    sim: &Sim,
    simulated_name: &str,
    node: &NodeId,
    schedule: &Schedule,
    program: Arc<dyn Program>,
    connect: Connect,
    invariants: Arc<Invariants>,
) -> Machine {
    let simulated: Node = sim.node(simulated_name);
    let mut runtime = kelpie_runtime::Options::alone(node.as_str()).expect("a node's own name is a name");
    runtime.node.capacity = schedule.capacity;
    let place = match schedule.peers {
        Peers::Alone => Place::Alone(runtime),
        Peers::Secret => {
            let security = Security::Secret(SecretKey::new(SECRET).expect("it is long enough"));
            let listen = (simulated.ip(), PEERS).into();
            let protocols = Protocols::default();
            Place::Among(kelpie_cluster::Options { runtime, listen, advertise: None, security, protocols })
        }
    };
    Machine::new(simulated, program, place, schedule.balanced, connect, invariants)
}
