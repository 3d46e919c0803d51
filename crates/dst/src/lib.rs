//! Deterministic simulation: whole clusters in one thread, from one seed.
//!
//! ```text
//!   Schedule ──▶ run ──▶ cluster: machines, clients, operator ──▶ history ──▶ judge ──▶ Verdict
//!   (operations,           │                                        │
//!    faults, seed)         └─▶ kelpie_env::sim: clocks, disks,      └─▶ check: linearizability, …
//!                              networks, the order of tasks
//! ```
//!
//! What runs on the machines is the code that runs in production, unchanged.
//!
//! Invariant: a dev-dependency. No product crate depends on it, and it simulates no weaker
//! a world than [`kelpie_env::sim`] does.

pub mod agents;
pub mod check;
pub mod cluster;
pub mod history;
pub mod invariant;
pub mod judge;
pub mod marks;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod run;
pub mod same;
pub mod schedule;
pub mod service;
pub mod shrink;
pub mod story;
pub mod timeline;
mod user;
pub mod workload;

pub use same::twice;
pub use user::{Cluster, cluster};
