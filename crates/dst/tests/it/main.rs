//! The simulation library through its public API.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "says which run it was when it fails")]

mod agents;
mod check;
mod clusters;
mod commands;
mod failover;
mod faults;
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#[path = "../../src/libc_net.rs"]
mod libc_net;
mod lost_answers;
mod same;
mod service;
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod settings;
mod slips;
mod streams;
mod timeline;
mod users;
