//! Deterministic simulation for tests: whole systems in one thread, from one seed.
//!
//! ```text
//!   your test ──▶ kelpie_env::sim::Sim ──▶ nodes with clocks, disks, networks
//!                     │
//!                     └─▶ what this crate adds
//! ```
//!
//! Invariant: a dev-dependency. No product crate depends on it, and it simulates no weaker
//! a world than [`kelpie_env::sim`] does.

pub mod check;
pub mod service;
