//! Sessions and ownership: store transactions around pure decisions.
//!
//! ```text
//!   Membership ── join, renew, rejoin, drain, leave ──▶ node/<node>/session, node/<node>/lease
//!   Nodes ─────── list, declare dead, drain, evict ───▶ the same
//!   Ownership ─── claim, claim over, migrate, settle ─▶ own/<actor>, head/<actor>, by-node/…
//! ```
//!
//! Each operation is one conditional transaction; what to write is decided by
//! `kelpie_core::session` and `kelpie_core::ownership` from what that transaction read. Whom to
//! declare dead is decided by `kelpie_core::membership` from many readings, and decided again in
//! the transaction that does it.
//!
//! Invariant: nothing here reads in one transaction and writes in another. It talks to the
//! store and never to a node.

mod error;
mod list;
mod membership;
mod nodes;
mod ownership;

pub use error::RegistryError;
pub use list::{Inspected, Owned, OwnedPage};
pub use membership::{Health, JoinError, Membership, Settings};
pub use nodes::{Declared, Nodes, Told};
pub use ownership::{Claimed, Head, Holding, Migrated, Ownership, Settled};
