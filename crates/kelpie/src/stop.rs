//! When a process that serves is to end.

use futures::FutureExt;
use futures::future::{select, select_all};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a server.
pub(crate) struct Stop {
    interrupts: Signal,
    terminations: Signal,
    end_with_stdin: bool,
}

/// Why the server is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Interrupt,
    Terminate,
    ParentGone,
    /// The store says that this node drains.
    Operator,
}

impl Stop {
    /// Takes the signals over from the system's default, which would end the process.
    pub(crate) fn new(end_with_stdin: bool) -> std::io::Result<Self> {
        let interrupts = signal(SignalKind::interrupt())?;
        let terminations = signal(SignalKind::terminate())?;
        Ok(Self { interrupts, terminations, end_with_stdin })
    }

    /// The first reason to end.
    pub(crate) async fn asked(&mut self) -> Why {
        let interrupt = self.interrupts.recv().map(|_| Why::Interrupt).boxed();
        let terminate = self.terminations.recv().map(|_| Why::Terminate).boxed();
        let parent = parent_gone(self.end_with_stdin).map(|()| Why::ParentGone).boxed();
        select_all([interrupt, terminate, parent]).await.0
    }

    /// A ^C during the drain: the person does not want to wait.
    pub(crate) async fn insisted<T>(&mut self, drain: impl Future<Output = T>) -> Option<T> {
        let drain = std::pin::pin!(drain);
        match select(drain, std::pin::pin!(self.interrupts.recv())).await {
            futures::future::Either::Left((drained, _)) => Some(drained),
            futures::future::Either::Right(_) => None,
        }
    }
}

async fn parent_gone(end_with_stdin: bool) {
    if !end_with_stdin {
        return std::future::pending().await;
    }
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    // An error says the same as the end: nobody holds the other side.
    while matches!(stdin.read(&mut ignored).await, Ok(read) if read > 0) {}
}
