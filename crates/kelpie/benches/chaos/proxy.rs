//! A door on the loopback address that can be held shut: what is sent stays on the way, in one
//! direction or in both, or nobody is there any more.
//!
//! Nothing is lost from a connection that is held: its bytes go on when it is opened, as they
//! would after a partition. While nobody listens behind the door, nobody listens at it either.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, join, select};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// How often one looks whether somebody listens behind the door again.
const LOOK: Duration = Duration::from_millis(20);

/// How a door stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// All goes through.
    Open,
    /// What comes in stays before the door; what goes out passes.
    HeldInward,
    /// Nothing passes.
    Held,
    /// All connections are broken, and new ones are refused.
    Gone,
}

/// A door. It closes when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Clone, Copy)]
struct State {
    door: Door,
    /// Whether nobody listens behind it.
    deserted: bool,
}

impl Proxy {
    /// A door before `target`, on a free port.
    pub(crate) async fn before(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Mutex::new(State { door: Door::Open, deserted: false });
        let shared = Arc::new(Shared { target, state, changed: Notify::new() });
        let task = tokio::spawn(shared.clone().serve(listener));
        Ok(Self { address, shared, task })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts it so.
    pub(crate) fn set(&self, door: Door) {
        self.shared.state.lock().door = door;
        self.shared.changed.notify_waiters();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Door::Gone);
        self.task.abort();
    }
}

impl Shared {
    async fn until(&self, so: impl Fn(State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if so(*self.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let address = listener.local_addr().expect("a bound socket");
        let mut listener = Some(listener);
        loop {
            match listener.take() {
                Some(listener) => self.accept(&listener).await,
                None => {
                    self.until(|state| state.door != Door::Gone).await;
                    while TcpStream::connect(self.target).await.is_err() {
                        tokio::time::sleep(LOOK).await;
                    }
                    self.state.lock().deserted = false;
                    listener = TcpListener::bind(address).await.ok();
                    if listener.is_none() {
                        tokio::time::sleep(LOOK).await;
                    }
                }
            }
        }
    }

    /// Lets connections in until nobody is to be here any more.
    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let closed = std::pin::pin!(self.until(|state| state.door == Door::Gone || state.deserted));
            match select(closed, std::pin::pin!(listener.accept())).await {
                Either::Left(_) => return,
                Either::Right((Ok((stream, _)), _)) => {
                    tokio::spawn(self.clone().carry(stream));
                }
                Either::Right((Err(_), _)) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn carry(self: Arc<Self>, client: TcpStream) {
        let server = match TcpStream::connect(self.target).await {
            Ok(server) => server,
            Err(error) => {
                if error.kind() == ErrorKind::ConnectionRefused {
                    self.state.lock().deserted = true;
                    self.changed.notify_waiters();
                }
                return;
            }
        };
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let inward = self.pump(from_client, to_server, |door| door == Door::Open);
        let outward = self.pump(from_server, to_client, |door| matches!(door, Door::Open | Door::HeldInward));
        let gone = std::pin::pin!(self.until(|state| state.door == Door::Gone));
        select(gone, std::pin::pin!(join(inward, outward))).await;
    }

    async fn pump(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        passes: impl Fn(Door) -> bool,
    ) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read) = from.read(&mut buffer).await {
            self.until(|state| passes(state.door)).await;
            if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        // Who reads there has read all that there was.
        drop(to.shutdown().await);
    }
}
