//! The store through its public API.
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test that cannot go on ends")]
#![cfg_attr(feature = "mutants", expect(clippy::print_stdout, reason = "says which run caught it"))]

mod contract;
mod crash;
mod doors;
mod embedded;
mod memory;
