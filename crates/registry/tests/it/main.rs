//! The registry through its public seam, in the simulated world.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod dead;
mod generation;
mod health;
mod list;
mod names;
mod operator;
mod ownership;
mod shared;
mod sim_races;
