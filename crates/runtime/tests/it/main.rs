//! The runtime through its public seam, in the simulated world.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod actors;
mod control;
mod counted;
mod cycles;
mod embedded;
mod given_up;
mod idle;
mod keys;
mod last_errors;
mod lease;
mod limits;
mod lossy;
mod names;
mod outbox;
mod reminders;
mod shutdown;
mod stale;
mod steps;
mod turns;
mod typed;
mod unknown;
mod wakes;
mod world;
