//! One connection: a pipe each way.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::chance::Event;
use super::super::node::{Life, Place};
use super::super::timers::Alarm;
use super::Passage;

/// Bytes under way in one direction; more wait at the writer.
const IN_FLIGHT_MAX: usize = 64 * 1024;

/// What both ends share. Ends by being dropped with the second of them.
pub(super) struct Connection {
    number: u64,
    ends: [Arc<Place>; 2],
    /// Number `n` leads from end `n` to the other.
    pipes: [Mutex<Pipe>; 2],
}

#[derive(Default)]
struct Pipe {
    under_way: VecDeque<Portion>,
    in_flight: usize,
    /// The writer is done: when the reader learns of it.
    closed: Option<u64>,
    /// The connection is reset behind what is under way: when the reader learns of it.
    broken: Option<u64>,
    reader_gone: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Portion {
    arrives: u64,
    bytes: Vec<u8>,
    read: usize,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Connection {
    pub(super) fn is_of(&self, life: &Arc<Life>) -> bool {
        self.ends.iter().any(|end| Arc::ptr_eq(&end.life, life))
    }

    pub(super) fn reset(&self) {
        for pipe in &self.pipes {
            let mut pipe = pipe.lock();
            pipe.reset = true;
            pipe.wake();
        }
    }

    pub(super) fn wake(&self) {
        for pipe in &self.pipes {
            pipe.lock().wake();
        }
    }

    /// From which node to which end number `end` writes.
    fn way(&self, end: usize) -> (u32, u32) {
        (self.ends[end].node.id(), self.ends[1 - end].node.id())
    }

    /// Whether nothing gets through from end number `end` to the other.
    fn is_blocked(&self, end: usize) -> bool {
        let (from, to) = self.way(end);
        self.ends[end].world.network.is_held(from, to)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let removed = self.ends[0].world.network.state.lock().connections.remove(&self.number);
        drop(removed);
    }
}

/// One end of a connection.
pub(super) struct SimStream {
    connection: Arc<Connection>,
    end: usize,
    alarm: Alarm,
}

/// Both ends of a new connection, and what the network keeps of it.
pub(super) fn connect(
    number: u64,
    near: Arc<Place>,
    far: Arc<Place>,
) -> (SimStream, SimStream, Weak<Connection>) {
    let world = near.world.clone();
    let connection = Arc::new(Connection { number, ends: [near, far], pipes: Default::default() });
    let weak = Arc::downgrade(&connection);
    let end = |end| SimStream { connection: connection.clone(), end, alarm: Alarm::new(world.clone(), None) };
    (end(0), end(1), weak)
}

impl SimStream {
    fn place(&self) -> &Arc<Place> {
        &self.connection.ends[self.end]
    }

    /// When what is sent now arrives, unless it has to wait for what went ahead.
    fn arrival(&self) -> u64 {
        let world = &self.place().world;
        world.after_delay(Event::Net, world.options.network_delay_max)
    }

    /// All of it half of the time, else any part: no reader may count on portions.
    fn portion(&self, most: usize) -> usize {
        self.place().world.decide(|chance| {
            if chance.one_in(Event::Net, 2) { most } else { 1 + chance.index(Event::Net, most) }
        })
    }

    fn close(&self) {
        let mut pipe = self.connection.pipes[self.end].lock();
        if pipe.closed.is_none() {
            pipe.closed = Some(self.arrival());
            pipe.wake();
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Self { connection, end, alarm } = this;
        let connection = connection.clone();
        let blocked = connection.is_blocked(1 - *end);
        let mut pipe = connection.pipes[1 - *end].lock();
        if !connection.ends[*end].life.is_alive() || (pipe.reset && !blocked) {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        pipe.reader = Some(cx.waker().clone());
        if blocked {
            return Poll::Pending;
        }
        let now = alarm.now();
        let next = pipe.under_way.front().map(|portion| portion.arrives).or(pipe.broken).or(pipe.closed);
        match next {
            None => Poll::Pending,
            Some(at) if at > now => {
                alarm.set(at, cx.waker());
                Poll::Pending
            }
            Some(_) => {
                let Some(mut front) = pipe.under_way.pop_front() else {
                    let broken = pipe.broken.map(|_| Err(ErrorKind::ConnectionReset.into()));
                    return Poll::Ready(broken.unwrap_or(Ok(())));
                };
                let left = front.bytes.len() - front.read;
                let taken = this.portion(left.min(buffer.remaining()));
                buffer.put_slice(&front.bytes[front.read..front.read + taken]);
                front.read += taken;
                if front.read < front.bytes.len() {
                    pipe.under_way.push_front(front);
                }
                pipe.in_flight -= taken;
                if let Some(writer) = pipe.writer.take() {
                    writer.wake();
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // That the other end is gone is learnt on the way back.
        let learns = !self.connection.is_blocked(1 - self.end);
        let mut pipe = self.connection.pipes[self.end].lock();
        if !self.place().life.is_alive() || ((pipe.reset || pipe.broken.is_some()) && learns) {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if pipe.closed.is_some() || (pipe.reader_gone && learns) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = IN_FLIGHT_MAX - pipe.in_flight;
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let sent = self.portion(room.min(bytes.len()));
        let mut bytes = bytes[..sent].to_vec();
        let world = &self.place().world;
        let passage = world.network.carry(world, self.connection.way(self.end), self.end == 0, &mut bytes);
        let (arrives, part) = match passage {
            Passage::Whole(at) => (at, sent),
            Passage::Closed(at, part) => {
                pipe.closed = Some(at);
                (at, part)
            }
            Passage::Reset(at, part) => {
                pipe.broken = Some(at);
                (at, part)
            }
        };
        bytes.truncate(part);
        if !bytes.is_empty() {
            pipe.in_flight += part;
            pipe.under_way.push_back(Portion { arrives, bytes, read: 0 });
        }
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        let broken = pipe.broken.is_some();
        drop(pipe);
        if broken {
            let mut back = self.connection.pipes[1 - self.end].lock();
            back.reset = true;
            back.wake();
        }
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if self.place().life.is_alive() {
            self.close();
        }
        let mut pipe = self.connection.pipes[1 - self.end].lock();
        pipe.reader_gone = true;
        pipe.wake();
    }
}
