//! Byte streams between nodes.

use std::io;
use std::net::{IpAddr, SocketAddr};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// One connection, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Accepts connections.
pub trait Listener: Send + Sync {
    /// The address it listens at.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The next connection and where it comes from.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>>;

    /// Listens no more, and gives those who have connected and were not accepted. They believe that
    /// they are served; a listener that is dropped resets them.
    fn close(self: Box<Self>) -> BoxFuture<'static, Vec<(Box<dyn Stream>, SocketAddr)>>;
}

/// A node's network.
pub trait Net: Send + Sync {
    /// Listens at `addr` (port 0: any free one).
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;

    /// The addresses that a name stands for at present.
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;

    /// Connects to `addr`.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;
}
