//! The real world: tokio and the operating system.
//!
//! The one place of the workspace that reads clocks, draws from the operating system,
//! starts tasks and threads, and opens files and sockets: each file below says so with an
//! `expect` of the lint that bans it everywhere else.

mod clock;
mod disk;
mod net;
mod tasks;

use std::cell::RefCell;
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

/// Numbers of the operating system, drawn some at a time: each question costs as much as a call
/// of an actor.
struct RealRandom;

/// Bytes of one question: sixteen keys.
const DRAWN: usize = 256;

thread_local! {
    /// What was drawn, and how much of it is used up.
    static DRAW: RefCell<([u8; DRAWN], usize)> = const { RefCell::new(([0; DRAWN], DRAWN)) };
}

impl Random for RealRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > DRAWN {
            return draw(bytes);
        }
        DRAW.with_borrow_mut(|(drawn, used)| {
            if DRAWN - *used < bytes.len() {
                draw(drawn);
                *used = 0;
            }
            let next = &mut drawn[*used..*used + bytes.len()];
            bytes.copy_from_slice(next);
            // Whoever sees this memory later learns no key.
            next.fill(0);
            *used += bytes.len();
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where Env draws its numbers")]
fn draw(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes once it has booted");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_number_is_given_twice_on_any_thread() {
        let draw = || {
            let mut numbers = Vec::new();
            for length in [16, 7, 16, 255, 256, 300].repeat(40) {
                let mut bytes = vec![0; length];
                RealRandom.fill(&mut bytes);
                numbers.push(bytes[..7].to_vec());
            }
            numbers
        };
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
