//! Typed actors through the facade alone, as a user's program has them.
#![expect(clippy::disallowed_methods, reason = "these tests stand in the real world, beside its seam")]

mod actors;
mod errors;
mod http;
mod lives;
mod newcomer;
mod postgres;
mod state;
mod turns;

use std::time::Duration;

use kelpie::{Builder, Cluster};

/// A node over a store in memory with all actors of these tests.
async fn cluster() -> Cluster {
    with_all(kelpie::open("memory:")).start().await.expect("a store in memory opens")
}

fn with_all(builder: Builder) -> Builder {
    builder
        .actor::<actors::Account>()
        .actor::<actors::Desk>()
        .with(actors::Gateway::default())
        .idle_after(Duration::from_secs(60))
}
