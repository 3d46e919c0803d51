//! The registry through its public seam, in the simulated world.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod generation;
mod health;
mod names;
mod ownership;
mod shared;
