//! A network of byte streams: delays, cuts, resets.
//!
//! Bytes of one connection arrive in order and never twice, as TCP has it; how late and in
//! what portions the seed decides. A partition holds everything back, resets included,
//! until it is mended: nobody learns of a death across it.

mod stream;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::chance::{Event, nanos};
use super::node::{Life, Place, ip};
use super::timers::Delay;
use super::world::World;
use crate::{Listener, Net, Stream};
use stream::{Connection, SimStream};

/// How long a connection attempt goes on when nothing comes back.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long until the next try within an attempt.
const CONNECT_RETRY: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted; one more is refused.
const BACKLOG_MAX: usize = 128;

/// The first of the ports that are given to whoever asks for any.
const FREE_PORTS: u16 = 49_152;

#[derive(Default)]
pub(super) struct Network {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listeners: BTreeMap<SocketAddr, Arc<Backlog>>,
    connections: BTreeMap<u64, Weak<Connection>>,
    connected: u64,
    /// From which node to which nothing gets through.
    blocked: BTreeSet<(u32, u32)>,
    ports: BTreeMap<u32, u16>,
}

impl State {
    fn free_port(&mut self, node: u32) -> u16 {
        let port = self.ports.entry(node).or_insert(FREE_PORTS);
        loop {
            let given = *port;
            *port = port.checked_add(1).unwrap_or(FREE_PORTS);
            if !self.listeners.contains_key(&SocketAddr::new(ip(node), given)) {
                return given;
            }
        }
    }

    fn live_connections(&self) -> Vec<Arc<Connection>> {
        self.connections.values().filter_map(Weak::upgrade).collect()
    }
}

impl Network {
    pub(super) fn partition(&self, from: u32, to: u32) {
        self.state.lock().blocked.insert((from, to));
    }

    pub(super) fn heal(&self, from: u32, to: u32) {
        let mut state = self.state.lock();
        state.blocked.remove(&(from, to));
        let connections = state.live_connections();
        drop(state);
        for connection in connections {
            connection.wake();
        }
    }

    fn is_blocked(&self, from: u32, to: u32) -> bool {
        self.state.lock().blocked.contains(&(from, to))
    }

    /// A life has ended: nobody listens for it any more, its connections are reset.
    pub(super) fn cut(&self, life: &Arc<Life>) {
        let mut state = self.state.lock();
        let gone: Vec<_> =
            state.listeners.extract_if(.., |_, backlog| Arc::ptr_eq(&backlog.life, life)).collect();
        let connections = state.live_connections();
        drop(state);
        drop(gone);
        for connection in connections.into_iter().filter(|connection| connection.is_of(life)) {
            connection.reset();
        }
    }
}

/// Connections that nobody has accepted yet.
struct Backlog {
    life: Arc<Life>,
    place: Place,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    streams: VecDeque<(SimStream, SocketAddr)>,
    accepting: Vec<Waker>,
}

/// The network as one life of a node uses it.
pub(super) struct SimNet {
    pub(super) place: Place,
}

impl Net for SimNet {
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let listened = listen(&self.place, addr).map(|listener| Box::new(listener) as _);
        Box::pin(std::future::ready(listened))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let place = self.place.clone();
        Box::pin(async move { connect(place, addr).await.map(|stream| Box::new(stream) as _) })
    }
}

fn listen(place: &Place, addr: SocketAddr) -> io::Result<SimListener> {
    if !place.life.is_alive() {
        return Err(ErrorKind::ConnectionReset.into());
    }
    let mut addr = own(place, addr);
    if addr.ip() != ip(place.node.id()) {
        return Err(ErrorKind::AddrNotAvailable.into());
    }
    let mut state = place.world.network.state.lock();
    if addr.port() == 0 {
        addr.set_port(state.free_port(place.node.id()));
    }
    if state.listeners.contains_key(&addr) {
        return Err(ErrorKind::AddrInUse.into());
    }
    let backlog =
        Arc::new(Backlog { life: place.life.clone(), place: place.clone(), waiting: Mutex::default() });
    state.listeners.insert(addr, backlog.clone());
    drop(state);
    Ok(SimListener { addr, backlog })
}

/// The loopback and the unspecified address mean the node itself.
fn own(place: &Place, addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_loopback() || addr.ip().is_unspecified() {
        SocketAddr::new(ip(place.node.id()), addr.port())
    } else {
        addr
    }
}

async fn connect(place: Place, addr: SocketAddr) -> io::Result<SimStream> {
    let addr = own(&place, addr);
    let world = place.world.clone();
    let target = world.nodes.lock().iter().position(|node| ip(node.id()) == addr.ip());
    let target = target.ok_or(ErrorKind::HostUnreachable)?;
    let target = u32::try_from(target).expect("nodes are numbered so");
    let from = place.node.id();
    let deadline = world.now().saturating_add(nanos(CONNECT_TIMEOUT));
    loop {
        travel(&world).await;
        let blocked = world.network.is_blocked(from, target) || world.network.is_blocked(target, from);
        if !blocked {
            let stream = dial(&place, addr)?;
            travel(&world).await;
            return Ok(stream);
        }
        if world.now() >= deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        Delay::until(world.clone(), world.now().saturating_add(nanos(CONNECT_RETRY))).await;
    }
}

fn travel(world: &Arc<World>) -> Delay {
    Delay::until(world.clone(), world.after_delay(Event::Net, world.options.network_delay_max))
}

fn dial(place: &Place, addr: SocketAddr) -> io::Result<SimStream> {
    if !place.life.is_alive() {
        return Err(ErrorKind::ConnectionReset.into());
    }
    let mut state = place.world.network.state.lock();
    let backlog = state.listeners.get(&addr).cloned().ok_or(ErrorKind::ConnectionRefused)?;
    let peer = SocketAddr::new(ip(place.node.id()), state.free_port(place.node.id()));
    let number = state.connected;
    state.connected += 1;
    let (near, far, connection) = stream::connect(number, place.clone(), backlog.place.clone());
    state.connections.insert(number, connection);
    drop(state);
    let mut waiting = backlog.waiting.lock();
    if waiting.streams.len() >= BACKLOG_MAX {
        drop(waiting);
        return Err(ErrorKind::ConnectionRefused.into());
    }
    waiting.streams.push_back((far, peer));
    let accepting = std::mem::take(&mut waiting.accepting);
    drop(waiting);
    for waker in accepting {
        waker.wake();
    }
    Ok(near)
}

struct SimListener {
    addr: SocketAddr,
    backlog: Arc<Backlog>,
}

impl SimListener {
    fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        if !self.backlog.life.is_alive() {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let mut waiting = self.backlog.waiting.lock();
        match waiting.streams.pop_front() {
            Some((stream, peer)) => Poll::Ready(Ok((Box::new(stream), peer))),
            None => {
                waiting.accepting.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Listener for SimListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(poll_fn(|cx| self.poll_accept(cx)))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut state = self.backlog.place.world.network.state.lock();
        // After a restart the address may be the next life's.
        let ours = state.listeners.get(&self.addr).is_some_and(|other| Arc::ptr_eq(other, &self.backlog));
        let removed = if ours { state.listeners.remove(&self.addr) } else { None };
        drop(state);
        drop(removed);
    }
}
