//! Who runs, and where.

use futures::future::BoxFuture;

/// Blocking work on its way to a thread.
pub type Work = Box<dyn FnOnce() + Send>;

/// Starts tasks and blocking work.
pub trait Tasks: Send + Sync {
    /// Starts a task beside the others.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);

    /// Starts a task on a thread of its own (a plain task in simulation).
    fn spawn_thread(&self, name: &'static str, task: BoxFuture<'static, ()>);

    /// Runs `work` where blocking harms nobody.
    fn blocking(&self, work: Work);

    /// What short blocking work waits for before it runs on its caller's thread: nothing in
    /// reality, some virtual time in simulation.
    fn before_inline(&self) -> BoxFuture<'static, ()>;
}
