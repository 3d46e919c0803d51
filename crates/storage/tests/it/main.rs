//! The store through its public API.
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "says which run it was when it fails")]

mod backup;
mod conformance;
mod crash;
mod doors;
mod embedded;
mod kill;
mod memory;
mod postgres;
mod pressure;
mod slots;
mod stalls;
mod upkeep;
