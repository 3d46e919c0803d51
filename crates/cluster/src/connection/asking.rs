//! The end that opened the connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::Env;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Driver, End, Ends, Side, Timing, Violation, kib};
use crate::failure::Failure;
use crate::frame::{FRAME_BYTES_MAX, Frame};
use crate::handshake::{Agreed, InFlight};
use crate::identity::Identity;
use crate::wire::Wire;

/// The end that opened the connection, and asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Asking {
    shared: Arc<Shared>,
}

struct Shared {
    ends: Arc<Ends>,
    in_flight: InFlight,
    requests: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// By id. An entry stays until the peer has answered, also when nobody waits any more: it
    /// is under way there.
    answers: BTreeMap<u64, Entry>,
    ended: Option<End>,
}

struct Entry {
    answer: Option<oneshot::Sender<Option<Bytes>>>,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Asking {
    /// Takes over a connection whose handshake is done.
    pub(crate) fn start(env: &Env, wire: Wire, peer: Identity, agreed: Agreed, timing: Timing) -> Self {
        let (driver, ends) = Driver::new(env, wire, peer, agreed, timing, Side::Asking);
        let in_flight = agreed.in_flight;
        let permits = |count: u32| {
            let count = usize::try_from(count).expect("32 bits");
            Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
        };
        let shared = Arc::new(Shared {
            ends,
            in_flight,
            requests: permits(in_flight.requests_max),
            kib: permits(in_flight.kib_max),
            waiting: Mutex::default(),
        });
        let taking = shared.clone();
        env.spawn("link", async move {
            let end = driver.run(|frame| taking.take(frame), |_| {}).await;
            tracing::debug!(peer = %taking.ends.peer, why = end.why, "a connection has ended");
            taking.end(end);
        });
        Self { shared }
    }

    /// Whether it can be used no more.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.waiting.lock().ended.is_some()
    }

    /// Ends it: whoever waits for an answer is told that the connection is lost.
    pub(crate) fn close(&self) {
        self.shared.ends.close.notify_one();
    }

    /// Asks, and waits for the answer for at most `remaining`.
    pub(crate) async fn request(&self, body: Bytes, remaining: Duration) -> Result<Bytes, Failure> {
        let Shared { ends, waiting, .. } = &*self.shared;
        let env = &ends.env;
        let deadline = env.now().saturating_add(remaining);
        let left = || deadline.saturating_sub(env.now());
        let permits = env.timeout(left(), self.permits(&body)).await.unwrap_or_else(|_| {
            Err(Failure::NotSent { reason: format!("too many requests are under way to `{}`", ends.peer) })
        })?;
        // Before anything is put under way, so that what is sent has an entry.
        let room = env.timeout(left(), ends.out.reserve()).await;
        let room = match room {
            Ok(Ok(room)) => room,
            Ok(Err(_)) => return Err(Failure::NotSent { reason: "the connection has ended".to_owned() }),
            Err(_) => return Err(Failure::NotSent { reason: "the connection is too slow".to_owned() }),
        };
        let (answer, mut answered) = oneshot::channel();
        let id = {
            let mut waiting = waiting.lock();
            if let Some(end) = &waiting.ended {
                return Err(Failure::NotSent { reason: end.why.clone() });
            }
            waiting.next += 1;
            let id = waiting.next;
            waiting.answers.insert(id, Entry { answer: Some(answer), _permits: permits });
            id
        };
        let remaining_us = u64::try_from(left().as_micros()).unwrap_or(u64::MAX);
        room.send(Frame::Request { id, remaining_us, body });
        let asked = Asked { shared: &self.shared, id };
        let answer = env.timeout(left(), &mut answered).await;
        drop(asked);
        match answer {
            Ok(Ok(Some(body))) => Ok(body),
            Ok(Ok(None)) => {
                let reason = "the peer gave it up".to_owned();
                Err(Failure::Lost { reason, unheard_for: Duration::ZERO })
            }
            Ok(Err(_)) => {
                let ended = waiting.lock().ended.clone();
                let gone = || End { why: "the connection has ended".to_owned(), unheard_for: Duration::ZERO };
                let End { why: reason, unheard_for } = ended.unwrap_or_else(gone);
                Err(Failure::Lost { reason, unheard_for })
            }
            Err(_) => Err(Failure::TimedOut),
        }
    }

    /// Room for one more request.
    async fn permits(&self, body: &Bytes) -> Result<[OwnedSemaphorePermit; 2], Failure> {
        let Shared { requests, kib: free, in_flight, .. } = &*self.shared;
        let kib = kib(body);
        if body.len() + 64 > FRAME_BYTES_MAX || kib > in_flight.kib_max {
            return Err(Failure::NotSent { reason: format!("a request of {kib} KiB is too large") });
        }
        let ended = |_| Failure::NotSent { reason: "the connection has ended".to_owned() };
        let request = requests.clone().acquire_owned().await.map_err(ended)?;
        let bytes = free.clone().acquire_many_owned(kib).await.map_err(ended)?;
        Ok([request, bytes])
    }

    /// Says something that may be lost; it is, when the queue is full.
    pub(crate) fn note(&self, body: Bytes) -> bool {
        self.shared.ends.out.try_send(Frame::Note { body }).is_ok()
    }
}

/// A request that somebody waits for. Who stops waiting cancels it.
struct Asked<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting.lock();
        let Some(entry) = waiting.answers.get_mut(&self.id) else { return };
        if entry.answer.take().is_some() {
            // It fails only when the connection has ended.
            drop(self.shared.ends.control.send(Frame::Cancel { id: self.id }));
        }
    }
}

impl Shared {
    fn take(&self, frame: Frame) -> Result<(), Violation> {
        let (id, body) = match frame {
            Frame::Reply { id, body } => (id, Some(body)),
            Frame::Ended { id } => (id, None),
            Frame::Ping => return Ok(()),
            Frame::Request { .. } => return Err(Violation::WrongEnd { what: "request" }),
            Frame::Cancel { .. } => return Err(Violation::WrongEnd { what: "cancel" }),
            Frame::Note { .. } => return Err(Violation::WrongEnd { what: "note" }),
        };
        let entry = self.waiting.lock().answers.remove(&id);
        if let Some(Entry { answer: Some(answer), _permits }) = entry {
            // Whoever waited has gone a moment ago.
            drop(answer.send(body));
        }
        Ok(())
    }

    fn end(&self, end: End) {
        self.requests.close();
        self.kib.close();
        let answers = {
            let mut waiting = self.waiting.lock();
            waiting.ended = Some(end);
            std::mem::take(&mut waiting.answers)
        };
        drop(answers);
    }
}

#[cfg(test)]
mod tests;
