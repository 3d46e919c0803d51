//! The seam through its public API, in both worlds.
#![expect(clippy::unwrap_used, reason = "a test ends there, and says where")]

mod chaos;
mod clocks;
mod disk;
mod link_faults;
mod messages;
mod network;
mod nodes;
mod power_cut;
mod real;
mod schedule;
mod sights;
mod slips;
mod storage_faults;
