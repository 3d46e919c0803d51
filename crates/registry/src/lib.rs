//! Sessions and ownership: store transactions around pure decisions.
//!
//! ```text
//!   Membership ── join, renew, drain, leave ──▶ node/<node>/session, node/<node>/lease
//!   Ownership ─── claim, settle ──────────────▶ own/<actor>, head/<actor>, by-node/…
//! ```
//!
//! Each operation is one conditional transaction; what to write is decided by
//! `kelpie_core::session` and `kelpie_core::ownership` from what that transaction read.
//!
//! Invariant: nothing here reads in one transaction and writes in another. It talks to the
//! store and never to a node.

mod error;
mod membership;
mod ownership;

pub use error::RegistryError;
pub use membership::{Health, JoinError, Membership, Settings};
pub use ownership::{Claimed, Head, Ownership, Settled};
