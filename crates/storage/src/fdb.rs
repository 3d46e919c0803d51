//! The store of a FoundationDB cluster: a thin mapping, because the contract is FoundationDB's.
//!
//! ```text
//!   begin  ─▶ transaction, read version            get, scan ─▶ snapshot reads at that version
//!   commit ─▶ conflict ranges, mutations ─▶ commit ─▶ committed version │ fault ─▶ outcome
//!   watch  ─▶ a transaction of its own, committed before it is answered
//! ```
//!
//! What was read, and what of that has to stay unwritten, is known above the contract: reads
//! are FoundationDB's snapshot reads, and the conflict ranges are added at the commit.
//! Nothing is written into a transaction before its commit, so reading one's own writes is
//! off. Rows lie in one subspace of the tuple layer, so that stores and other layers share a
//! cluster.
//!
//! Invariant: an error that does not say that nothing happened is an unknown outcome.
//!
//! The parts that decide are pure and are built for tests without the client library.

#[cfg(feature = "fdb")]
mod client;
mod faults;
#[cfg(feature = "fdb")]
mod network;
mod size;
mod subspace;
#[cfg(feature = "fdb")]
mod view;

#[cfg(feature = "fdb")]
pub use client::Fdb;
