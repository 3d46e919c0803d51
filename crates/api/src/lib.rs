//! The HTTP wire types, in the Letta v1 format, shared by server, command line and tests.
//!
//! ```text
//!   client ──JSON──▶ request types ──▶ server ──▶ response types ──JSON / SSE──▶ client
//! ```
//!
//! The names are those of `letta-client` 1.12.1, letter for letter, and every field that its
//! models require is always present. Optional fields without a value are left out.
//!
//! Invariant: these types know JSON and nothing of the domain. The server translates, so that
//! a change in the domain can't change the wire by accident.

pub mod actor;
pub mod agent;
pub mod archive;
pub mod block;
pub mod cluster;
pub mod context;
pub mod conversation;
pub mod error;
pub mod event;
pub mod health;
pub mod message;
pub mod model;
pub mod page;
pub mod passage;
pub mod recording;
pub mod request;
pub mod response;
pub mod run;
pub mod schedule;
pub mod spending;
pub mod store;
pub mod timestamp;
pub mod tool;
pub mod working;
