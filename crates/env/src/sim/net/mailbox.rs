//! Messages between nodes: each for itself, with nothing promised.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use super::super::fault::Fault;
use super::super::node::{Life, Place, ip};
use super::own;

/// A message under way.
#[derive(Clone)]
pub(in crate::sim) struct Letter {
    /// Later ones have higher numbers.
    pub(super) number: u64,
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) bytes: Bytes,
    /// By which fault it is one more than was sent.
    pub(super) copy: Option<Fault>,
}

/// A port of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) node: u32,
    pub(super) port: u16,
}

impl Address {
    fn socket(self) -> SocketAddr {
        SocketAddr::new(ip(self.node), self.port)
    }
}

/// What has arrived for one life of a node and waits.
pub(super) struct Inbox {
    pub(super) life: Arc<Life>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<(SocketAddr, Bytes)>,
    receiving: Vec<Waker>,
}

impl Inbox {
    pub(super) fn new(life: Arc<Life>) -> Self {
        Self { life, waiting: Mutex::default() }
    }

    pub(super) fn put(&self, letter: Letter) {
        let mut waiting = self.waiting.lock();
        waiting.messages.push_back((letter.from.socket(), letter.bytes));
        // All of them: one that has given up waiting is still among them.
        for waker in waiting.receiving.drain(..) {
            waker.wake();
        }
    }

    /// Its life has ended: so have all that wait for a message.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.messages.clear();
        let receiving = std::mem::take(&mut waiting.receiving);
        drop(waiting);
        for waker in receiving {
            waker.wake();
        }
    }

    fn poll_take(&self, cx: &Context<'_>) -> Poll<Option<(SocketAddr, Bytes)>> {
        if !self.life.is_alive() {
            return Poll::Ready(None);
        }
        let mut waiting = self.waiting.lock();
        if let Some(message) = waiting.messages.pop_front() {
            return Poll::Ready(Some(message));
        }
        if !waiting.receiving.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.receiving.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A place where messages arrive and from which they are sent, of one life of a node.
///
/// Each message is whole and on its own. Without faults it arrives once, after the world's
/// delay, in any order; what [`crate::sim::LinkFaults`] or a partition does to it, its
/// sender is never told. Dropping the mailbox frees its port.
pub struct Mailbox {
    place: Arc<Place>,
    address: Address,
    inbox: Arc<Inbox>,
}

impl Mailbox {
    pub(in crate::sim) fn open(place: Arc<Place>, port: u16) -> Self {
        let node = place.node.id();
        let inbox = Arc::new(Inbox::new(place.life.clone()));
        let mut state = place.world.network.state.lock();
        let port = if port == 0 { state.free_port(node) } else { port };
        let address = Address { node, port };
        let taken = state.inboxes.contains_key(&address);
        if !taken {
            state.inboxes.insert(address, inbox.clone());
        }
        drop(state);
        assert!(!taken, "{} has a mailbox at port {port} already", place.node.name());
        Self { place, address, inbox }
    }

    /// Where messages to it are sent.
    pub fn addr(&self) -> SocketAddr {
        self.address.socket()
    }

    /// Sends a message, and never tells whether it arrives. The loopback address means the
    /// node itself. Nothing once the life has ended.
    pub fn send(&self, to: SocketAddr, message: Bytes) {
        let Self { place, address, .. } = self;
        if place.life.is_alive() {
            place.world.network.send(&place.world, *address, own(place, to), message);
        }
    }

    /// The next message and where it comes from; `None` once the life has ended.
    pub async fn recv(&self) -> Option<(SocketAddr, Bytes)> {
        poll_fn(|cx| self.inbox.poll_take(cx)).await
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut state = self.place.world.network.state.lock();
        // After a restart the port may be the next life's.
        let ours = state.inboxes.get(&self.address).is_some_and(|other| Arc::ptr_eq(other, &self.inbox));
        let removed = if ours { state.inboxes.remove(&self.address) } else { None };
        drop(state);
        drop(removed);
    }
}

impl Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").field("addr", &self.addr()).finish_non_exhaustive()
    }
}
