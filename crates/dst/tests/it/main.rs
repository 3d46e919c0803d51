//! The simulation library through its public API.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod check;
