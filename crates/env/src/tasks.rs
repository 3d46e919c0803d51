//! Who runs, and where.

use std::panic::Location;

use futures::future::BoxFuture;

/// Blocking work on its way to a thread.
pub type Work = Box<dyn FnOnce() + Send>;

/// What a task is called, and where it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The name that it was given.
    pub name: &'static str,
    /// The line of code that started it.
    pub place: &'static Location<'static>,
}

/// Starts tasks and blocking work.
pub trait Tasks: Send + Sync {
    /// Starts a task beside the others.
    fn spawn(&self, origin: Origin, task: BoxFuture<'static, ()>);

    /// Starts a task on a thread of its own (a plain task in simulation).
    fn spawn_thread(&self, origin: Origin, task: BoxFuture<'static, ()>);

    /// Runs `work` where blocking harms nobody.
    fn blocking(&self, origin: Origin, work: Work);

    /// What short blocking work waits for before it runs on its caller's thread: nothing in
    /// reality, some virtual time in simulation.
    fn before_inline(&self) -> BoxFuture<'static, ()>;
}
