//! The registry through its public seam, in the simulated world and on real stores.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]
#![expect(clippy::print_stdout, reason = "says which run it was when it fails")]

mod conformance;
mod dead;
mod generation;
mod health;
mod list;
mod names;
mod operator;
mod ownership;
mod rejoin;
mod shared;
mod sim_races;
