//! The real world: tokio and the operating system.
//!
//! The one place of the workspace that reads clocks, draws from the operating system,
//! starts tasks and threads, and opens files and sockets: each file below says so with an
//! `expect` of the lint that bans it everywhere else.

mod clock;
mod disk;
mod net;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::{Env, Parts, Random};

pub use tasks::panics;

/// The real world on the tokio runtime of the caller.
///
/// # Panics
/// Outside a tokio runtime. Use [`env_on`] there.
pub fn env() -> Env {
    env_on(&Handle::current())
}

/// The real world on a given tokio runtime (with time and IO enabled).
///
/// The futures of this [`Env`] are to be awaited in tasks that it started, or on that runtime.
pub fn env_on(runtime: &Handle) -> Env {
    Env::new(Parts {
        clock: Arc::new(clock::RealClock::start(runtime.clone())),
        random: Arc::new(RealRandom),
        tasks: Arc::new(tasks::RealTasks::new(runtime.clone())),
        disk: Arc::new(disk::RealDisk),
        net: Arc::new(net::RealNet),
    })
}

/// How long a deadline of "never" is: a clock that cannot count that far sleeps this long.
const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);

struct RealRandom;

#[expect(clippy::disallowed_methods, reason = "this is where Env draws its numbers")]
impl Random for RealRandom {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes once it has booted");
    }
}
