//! A network of byte streams and of messages, over links that fail.
//!
//! ```text
//!   Net     ──▶ streams:  in order and never twice, as TCP has it ─┐
//!                                                                  ├─▶ one link for each ordered
//!   Mailbox ──▶ messages: each on its own, nothing promised       ─┘   pair of nodes
//! ```
//!
//! How late bytes arrive and in what portions the seed decides. A partition holds back
//! what streams carry, resets included, until it is mended: nobody learns of a death across
//! it. Messages do not outlive it: those under way and those sent meanwhile are lost.

mod link;
mod mailbox;
mod stream;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::chance::{Event, nanos};
use super::fault::Fault;
use super::node::{Life, Place, ip, node_at};
use super::sights::Sight;
use super::timers::{Delay, Due};
use super::world::World;
use crate::{Listener, Net, Stream};
use link::{Link, Passage};
use mailbox::{Address, Inbox};
use stream::{Connection, SimStream};

pub(super) use link::Fate;
pub use link::LinkFaults;
pub(super) use mailbox::Letter;
pub use mailbox::Mailbox;

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
    inboxes: BTreeMap<Address, Arc<Inbox>>,
    sent: u64,
    /// By the nodes that they lead from and to; sound where there is none.
    links: BTreeMap<(u32, u32), Link>,
    /// Nodes that are without power: nothing comes from them, not even that they are gone.
    dark: BTreeSet<u32>,
    ports: BTreeMap<u32, u16>,
}

impl State {
    fn free_port(&mut self, node: u32) -> u16 {
        let next = self.ports.entry(node).or_insert(FREE_PORTS);
        loop {
            let port = *next;
            *next = port.checked_add(1).unwrap_or(FREE_PORTS);
            let taken = self.listeners.contains_key(&SocketAddr::new(ip(node), port))
                || self.inboxes.contains_key(&Address { node, port });
            if !taken {
                return port;
            }
        }
    }

    fn link(&mut self, from: u32, to: u32) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    fn is_blocked(&self, from: u32, to: u32) -> bool {
        self.links.get(&(from, to)).is_some_and(|link| link.is_blocked())
    }

    fn live_connections(&self) -> Vec<Arc<Connection>> {
        self.connections.values().filter_map(Weak::upgrade).collect()
    }

    /// What kind of partition keeps `from` from reaching `to`.
    fn partition(&self, world: &World, from: u32, to: u32) -> Fault {
        let nodes = u32::try_from(world.nodes.lock().len()).expect("few nodes");
        let alone = |node| {
            let mut others = (0..nodes).filter(|other| *other != node);
            nodes > 2 && others.all(|other| self.is_blocked(node, other) && self.is_blocked(other, node))
        };
        match () {
            () if alone(from) || alone(to) => Fault::IsolateOne,
            () if self.is_blocked(to, from) => Fault::SymmetricPartition,
            () => Fault::AsymmetricPartition,
        }
    }

    /// Whether nothing gets through at present; then it is counted.
    fn holds(&mut self, world: &World, from: u32, to: u32) -> bool {
        match self.links.get(&(from, to)) {
            Some(link) if link.is_blocked() => world.marks.fire(self.partition(world, from, to)),
            Some(link) if link.is_clogged() => world.marks.fire(Fault::Clog),
            _ if self.is_dark(from, to) => world.marks.fire(Fault::SilentCrash),
            _ => return false,
        }
        true
    }

    fn is_dark(&self, from: u32, to: u32) -> bool {
        self.dark.contains(&from) || self.dark.contains(&to)
    }
}

impl Network {
    pub(super) fn partition(&self, from: u32, to: u32) {
        self.state.lock().link(from, to).set_blocked(true);
    }

    pub(super) fn heal(&self, from: u32, to: u32) {
        self.state.lock().link(from, to).set_blocked(false);
        self.changed();
    }

    pub(super) fn link_faults(&self, from: u32, to: u32) -> LinkFaults {
        self.state.lock().link(from, to).faults()
    }

    pub(super) fn set_link_faults(&self, world: &World, from: u32, to: u32, faults: LinkFaults) {
        let mut state = self.state.lock();
        let link = state.link(from, to);
        for letter in link.set(faults) {
            let bytes = letter.bytes.len();
            let at = world.decide(|chance| link.arrival(bytes, &mut world.fate(chance)));
            world.timers.add(at, None, Due::Arrives(letter));
        }
        drop(state);
        self.changed();
    }

    /// Mends all links.
    pub(super) fn heal_all(&self, world: &World) {
        let ways: Vec<_> = self.state.lock().links.keys().copied().collect();
        for (from, to) in ways {
            self.state.lock().link(from, to).set_blocked(false);
            self.set_link_faults(world, from, to, LinkFaults::default());
        }
    }

    /// Whoever waits for a link may find it open.
    fn changed(&self) {
        let connections = self.state.lock().live_connections();
        for connection in connections {
            connection.wake();
        }
    }

    fn is_held(&self, from: u32, to: u32) -> bool {
        let state = self.state.lock();
        state.links.get(&(from, to)).is_some_and(Link::holds) || state.is_dark(from, to)
    }

    /// A node loses its power, or has it again.
    pub(super) fn set_dark(&self, node: u32, dark: bool) {
        let mut state = self.state.lock();
        let changed = if dark { state.dark.insert(node) } else { state.dark.remove(&node) };
        drop(state);
        if changed {
            self.changed();
        }
    }

    /// Sends a message on its way.
    fn send(&self, world: &World, from: Address, to: SocketAddr, bytes: Bytes) {
        let Some(node) = node_at(to.ip()) else { return };
        let mut state = self.state.lock();
        state.sent += 1;
        let letter =
            Letter { number: state.sent, from, to: Address { node, port: to.port() }, bytes, copy: None };
        world.see(Sight::Sent { letter: state.sent, from: from.node, to: node, bytes: letter.bytes.len() });
        let link = state.link(from.node, node);
        let untouched = world.decide(|chance| {
            chance.note(Event::Sent, u64::from(from.node) << 32 | u64::from(node));
            chance.note_bytes(Event::Sent, &letter.bytes);
            link.is_sound().then(|| link.arrival(letter.bytes.len(), &mut world.fate(chance)))
        });
        if let Some(at) = untouched {
            world.timers.add(at, None, Due::Arrives(letter));
            return;
        }
        if link.is_blocked() {
            world.marks.fire(state.partition(world, from.node, node));
            return;
        }
        let passed = world.decide(|chance| link.pass(letter, &mut world.fate(chance)));
        for (at, letter) in passed {
            world.timers.add(at, None, Due::Arrives(letter));
        }
    }

    /// A message is there, unless something has come between meanwhile.
    pub(super) fn arrived(&self, world: &World, letter: Letter) {
        let (from, to) = (letter.from.node, letter.to.node);
        world.decide(|chance| chance.note(Event::Arrived, letter.number));
        let mut state = self.state.lock();
        if state.is_blocked(from, to) {
            world.marks.fire(state.partition(world, from, to));
            return;
        }
        let inbox = state.inboxes.get(&letter.to).cloned();
        let link = state.link(from, to);
        if link.is_clogged() {
            link.hold(letter, &world.marks);
            return;
        }
        if let Some(inbox) = inbox {
            link.arrived(&letter, inbox.life.number(), &world.marks);
            drop(state);
            world.see(Sight::Arrived { letter: letter.number });
            inbox.put(letter);
        }
    }

    /// A portion of a stream sets out.
    fn carry(&self, world: &World, way: (u32, u32), opener: bool, bytes: &mut [u8]) -> Passage {
        let mut state = self.state.lock();
        state.holds(world, way.0, way.1);
        let link = state.link(way.0, way.1);
        world.decide(|chance| {
            chance.note_bytes(Event::Net, bytes);
            link.carry(bytes, opener, &mut world.fate(chance))
        })
    }

    /// A life has ended: nobody listens for it any more, its connections are reset.
    pub(super) fn cut(&self, life: &Arc<Life>) {
        let mut state = self.state.lock();
        let gone: Vec<_> =
            state.listeners.extract_if(.., |_, backlog| Arc::ptr_eq(&backlog.life, life)).collect();
        let inboxes: Vec<_> =
            state.inboxes.extract_if(.., |_, inbox| Arc::ptr_eq(&inbox.life, life)).collect();
        let connections = state.live_connections();
        drop(state);
        drop(gone);
        for (_, inbox) in inboxes {
            inbox.close();
        }
        for connection in connections.into_iter().filter(|connection| connection.is_of(life)) {
            connection.reset();
        }
    }
}

/// Connections that nobody has accepted yet.
struct Backlog {
    life: Arc<Life>,
    place: Arc<Place>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    streams: VecDeque<(SimStream, SocketAddr)>,
    accepting: Vec<Waker>,
}

/// The network as one life of a node uses it.
pub(super) struct SimNet {
    pub(super) place: Arc<Place>,
}

impl Net for SimNet {
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let listened = listen(&self.place, addr).map(|listener| Box::new(listener) as _);
        Box::pin(std::future::ready(listened))
    }

    /// A node's name stands for its address.
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let nodes = self.place.world.nodes.lock();
        let named = nodes.iter().find(|node| node.name() == name).map(|node| vec![ip(node.id())]);
        Box::pin(std::future::ready(named.ok_or_else(|| ErrorKind::NotFound.into())))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let place = self.place.clone();
        Box::pin(async move { connect(place, addr).await.map(|stream| Box::new(stream) as _) })
    }
}

fn listen(place: &Arc<Place>, addr: SocketAddr) -> io::Result<SimListener> {
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

async fn connect(place: Arc<Place>, addr: SocketAddr) -> io::Result<SimStream> {
    let addr = own(&place, addr);
    let world = place.world.clone();
    let known = u32::try_from(world.nodes.lock().len()).expect("few nodes");
    let target = node_at(addr.ip()).filter(|node| *node < known).ok_or(ErrorKind::HostUnreachable)?;
    let from = place.node.id();
    let deadline = world.now().saturating_add(nanos(CONNECT_TIMEOUT));
    loop {
        travel(&world, from, target).await;
        if is_open(&world, from, target) {
            let stream = dial(&place, addr)?;
            travel(&world, target, from).await;
            return Ok(stream);
        }
        if world.now() >= deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        Delay::until(world.clone(), world.now().saturating_add(nanos(CONNECT_RETRY))).await;
    }
}

fn travel(world: &Arc<World>, from: u32, to: u32) -> Delay {
    let mut state = world.network.state.lock();
    let link = state.link(from, to);
    let at = world.decide(|chance| link.arrival(0, &mut world.fate(chance)));
    drop(state);
    Delay::until(world.clone(), at)
}

/// Whether an attempt to connect gets there and back.
fn is_open(world: &World, from: u32, to: u32) -> bool {
    let mut state = world.network.state.lock();
    for (from, to) in [(from, to), (to, from)] {
        let lossy = state.link(from, to).faults().drop_ppm;
        if state.holds(world, from, to) {
            return false;
        }
        if world.decide(|chance| chance.hits(Event::Net, lossy)) {
            world.marks.fire(Fault::Drop);
            return false;
        }
    }
    true
}

fn dial(place: &Arc<Place>, addr: SocketAddr) -> io::Result<SimStream> {
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
    let link = state.link(place.node.id(), backlog.place.node.id());
    link.reached(backlog.life.number(), &place.world.marks);
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

    fn close(self: Box<Self>) -> BoxFuture<'static, Vec<(Box<dyn Stream>, SocketAddr)>> {
        let waiting = std::mem::take(&mut self.backlog.waiting.lock().streams);
        let all = waiting.into_iter().map(|(stream, peer)| (Box::new(stream) as Box<dyn Stream>, peer));
        let all: Vec<_> = all.collect();
        Box::pin(async move { all })
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
