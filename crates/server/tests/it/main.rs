//! The HTTP front through its router, with real agents on a store in memory.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod actors;
mod agents;
mod blocks;
mod doors;
mod guide;
mod keys;
mod listener;
mod messages;
mod openapi;
mod refusals;
mod renewals;
mod rubbish;
mod store;
mod streams;
mod system;
mod working;
mod world;
