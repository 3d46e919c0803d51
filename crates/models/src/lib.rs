//! The pure machines of `kelpie-core`, explored exhaustively.
//!
//! A model puts the machines that serve users into the smallest world in which they can go
//! wrong: a few nodes, a store with nothing but rows and what each transaction has read, and
//! answers that get lost. It goes through every order in which things can happen there, and
//! checks after each step what the specification of the same name calls its invariants.
//!
//! What a machine decides is asked of the machine; the model only carries it out, as the shells
//! in `registry` and `runtime` do. Where a specification and its model share their bounds, the
//! model counts its distinct states as the specification would see them, and a test compares that
//! with what TLC counts: they are the same machine, or the numbers differ.

pub mod agent_turn;
mod explore;
pub mod log;
pub mod migration;
pub mod registry;
pub mod single_activation;
pub mod traces;

pub use explore::{Explored, explore, violate};
