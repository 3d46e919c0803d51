//! Nodes through their public seam: simulated ones, and real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod certificates;
mod cluster;
mod counter;
mod deadlines;
mod links;
mod operating;
mod peers;
mod renewals;
mod shared;
mod sim_churn;
mod sockets;
mod versions;
mod waiting;
mod world;
