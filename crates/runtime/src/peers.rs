//! What a runtime needs of the other nodes. Who brings it there is no concern of it.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use kelpie_core::ownership::Myself;

/// The way to other nodes.
pub trait Peers: Send + Sync + 'static {
    /// Has that process do [`Runtime::serve`](crate::Runtime::serve) with `body`, and brings back
    /// what it gives. `remaining` is left for it.
    fn request(
        &self,
        to: &Myself,
        body: Bytes,
        remaining: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerFailure>>;

    /// Has a connection to that process, opened if there is none within `remaining`.
    fn connect(&self, to: &Myself, remaining: Duration) -> BoxFuture<'static, Result<(), PeerFailure>>;

    /// Has that process do [`Runtime::note`](crate::Runtime::note) with `body`, if that is easily
    /// done.
    fn note(&self, to: &Myself, body: Bytes);
}

/// A request to another node has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFailure {
    /// It has certainly not been read there.
    #[error("not delivered: {reason}")]
    NotDelivered {
        /// Why.
        reason: String,
    },
    /// It was sent, and nobody knows what became of it.
    #[error("lost on the way: {reason}")]
    Lost {
        /// Why.
        reason: String,
        /// How long nothing had come from there.
        unheard_for: Duration,
    },
    /// It was sent, and its time is over.
    #[error("no answer in time")]
    TimedOut,
}
