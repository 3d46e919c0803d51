//! The simulation library through its public API.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "says which run it was when it fails")]

mod check;
mod clusters;
mod same;
mod service;
mod users;
