//! A cluster in one thread: machines that run production code over one store, clients that
//! call them, and an environment that does its worst.

mod client;
mod frail;
mod machine;
mod operator;
mod program;
mod wire;

use std::sync::Arc;

use kelpie_core::id::NodeId;
use kelpie_env::sim::{Node, Sim};
use kelpie_runtime::Options;

pub use client::Client;
pub use program::{Actors, Process, Program, Request};
pub use wire::Outcome;

use crate::invariant::Invariants;

pub(crate) use client::Clients;
pub(crate) use machine::{Connect, Machine};
pub(crate) use operator::{supervise, watch};
pub(crate) use program::{PEEK, Running};

/// The name of machine number `number`.
pub(crate) fn name(number: u32) -> NodeId {
    NodeId::new(&format!("n{number}")).expect("a short name of letters and digits")
}

/// Adds a machine to a world. It is not started.
pub(crate) fn machine(
    sim: &Sim,
    simulated_name: &str,
    node: NodeId,
    program: Arc<dyn Program>,
    connect: Connect,
    invariants: Arc<Invariants>,
) -> Machine {
    let simulated: Node = sim.node(simulated_name);
    let alone = Options::alone(node.as_str()).expect("a node's own name is a name");
    Machine::new(simulated, program, alone, connect, invariants)
}
