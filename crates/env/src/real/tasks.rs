//! Tasks on tokio, threads of the operating system.
//!
//! A panic ends its task alone: it is logged with the task's name and counted, so that a
//! supervisor and `/metrics` see it.
#![expect(clippy::disallowed_methods, reason = "this is where Env starts tasks and threads")]

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use crate::panic::words;
use crate::{Origin, Tasks, Work};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many tasks of this process have ended in a panic.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

pub(super) struct RealTasks {
    runtime: Handle,
}

impl RealTasks {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime }
    }
}

impl Tasks for RealTasks {
    fn spawn(&self, origin: Origin, task: BoxFuture<'static, ()>) {
        self.runtime.spawn(supervised(origin, task));
    }

    fn spawn_thread(&self, origin: Origin, task: BoxFuture<'static, ()>) {
        let runtime = self.runtime.clone();
        std::thread::Builder::new()
            .name(origin.name.to_owned())
            .spawn(move || {
                let _entered = runtime.enter();
                futures::executor::block_on(supervised(origin, task));
            })
            .expect("a machine that starts no thread cannot run a node");
    }

    fn blocking(&self, _: Origin, work: Work) {
        // When the runtime is ending the work is dropped unrun; `Env::blocking` knows.
        drop(self.runtime.spawn_blocking(work));
    }

    fn before_inline(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

async fn supervised(origin: Origin, task: BoxFuture<'static, ()>) {
    if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let Origin { name, place } = origin;
        tracing::error!(task = name, started_at = %place, reason = words(panic.as_ref()), "task panicked");
    }
}
