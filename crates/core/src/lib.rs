//! The vocabulary of Kelpie and its pure state machines.
//!
//! Ids, counters, limits and error classes that all crates share, and every decision that
//! can be made without doing anything: inputs and time go in, effects come out.
//!
//! Invariant: nothing here does IO, is `async`, reads a clock, draws a random number or
//! iterates in random order. Time is a `Duration` or a number of milliseconds that the
//! caller hands in.

pub mod advice;
pub mod call;
pub mod capacity;
pub mod gate;
pub mod id;
pub mod inbox;
pub mod limits;
pub mod log;
pub mod membership;
pub mod migration;
pub mod mutant;
pub mod ownership;
pub mod placement;
pub mod probe;
pub mod protocol;
pub mod rate;
pub mod record;
pub mod reminder;
pub mod routing;
pub mod row;
pub mod run;
pub mod session;
pub mod trace;
pub mod turn;
