//! Nodes through their public seam: simulated ones, and real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod certificates;
mod cluster;
mod counter;
mod deadlines;
mod links;
mod operating;
mod peers;
#[expect(dead_code, reason = "what it counts is for the bench")]
mod shared;
mod sim_churn;
mod sockets;
mod world;
