//! The operating system's clocks, and tokio's timers.
#![expect(clippy::disallowed_methods, reason = "this is where Env reads the clocks")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::NEVER;
use crate::Clock;

pub(super) struct RealClock {
    started: Instant,
    runtime: Handle,
}

impl RealClock {
    pub(super) fn start(runtime: Handle) -> Self {
        Self { started: Instant::now(), runtime }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        // A wall clock before 1970 is nonsense that the caller has to survive anyway.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep_until(&self, deadline: Duration) -> BoxFuture<'static, ()> {
        let end = self.started + deadline.min(NEVER);
        // Timers are created outside of tasks too: there tokio has to be told which runtime.
        let _entered = self.runtime.enter();
        Box::pin(tokio::time::sleep_until(end.into()))
    }
}
