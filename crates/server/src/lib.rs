//! The HTTP front of Kelpie.
//!
//! ```text
//!   socket ─▶ listener ─▶ request_log ─▶ guard ─▶ handler ─▶ Agents, Runtime
//!                              │           │         └─ translate: wire ◀─▶ domain
//!                              └─ id, log, metrics   └─ error: one answer for all failures
//! ```
//!
//! Speaks the Letta v1 wire format, so that its clients work unchanged, and serves actors of any
//! type as JSON at `/v1/actors`. Reads go to the store, writes through the actor; this crate keeps
//! no state of its own. A [program without agents](front::Serves::Actors) gets the same front.
//!
//! Invariant: every answer that is not a success is JSON with a `detail`, whatever came in;
//! no request makes the process end.

mod actors;
mod agents;
mod archives;
mod blocks;
mod body;
mod cluster;
mod context;
mod conversations;
pub mod deadline;
pub mod error;
pub mod front;
mod guard;
pub mod idempotency;
pub mod listener;
mod messages;
mod models;
pub mod openapi;
pub mod options;
mod panics;
mod passages;
mod path;
mod query;
pub mod recorder;
mod recording;
mod request_log;
mod router;
mod runs;
mod schedule;
mod search;
mod spending;
pub mod store;
mod stream;
mod system;
mod tools;
pub mod trace;
mod translate;
mod unbuilt;
mod working;

pub use router::router;
