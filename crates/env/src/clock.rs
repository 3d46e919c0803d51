//! Time as one node sees it.

use std::time::Duration;

use futures::future::BoxFuture;

/// A node's clocks and its timers.
pub trait Clock: Send + Sync {
    /// Monotonic time since the node started.
    fn now(&self) -> Duration;

    /// Wall time in milliseconds since the Unix epoch.
    fn wall_ms(&self) -> u64;

    /// Completes once [`Clock::now`] has reached `deadline`.
    fn sleep_until(&self, deadline: Duration) -> BoxFuture<'static, ()>;
}

/// Work took longer than it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not done within {limit:?}")]
pub struct Elapsed {
    /// The time that it was given.
    pub limit: Duration,
}
