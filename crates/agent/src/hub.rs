//! The pieces of answers that are being made, on their way to whoever watches.
//!
//! ```text
//!   effect ──push──▶ Channel of (agent, run): ring of pieces ──read at own index──▶ watchers
//!                          └─ changed: something was committed; look into the store
//! ```
//!
//! Nothing here is state: it may all be lost and the store still tells the whole story.
//!
//! Where another node makes the pieces, `follow` brings them into the channel of this one.
//!
//! Invariant: who makes pieces never waits for who reads them. The ring is bounded; a reader
//! that has fallen behind its beginning is told so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use kelpie_core::id::ActorId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::message::MessageBody;

/// Pieces that a channel keeps: some minutes of a fast model.
const PIECES_MAX: usize = 4_096;

/// A piece of the answer that will stand at `position`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// Where the answer will stand in the log.
    pub(crate) position: u64,
    /// The how-manieth event of this attempt.
    pub(crate) index: u64,
    /// What it adds, and to which part; absent when all before it is void.
    pub(crate) body: Option<(u8, MessageBody)>,
}

/// Which run.
pub(crate) type RunName = (ActorId, String);

/// All channels of this process.
#[derive(Default)]
pub(crate) struct Hub {
    channels: Mutex<BTreeMap<RunName, Arc<Channel>>>,
}

/// The pieces of one run.
#[derive(Default)]
pub(crate) struct Channel {
    ring: Mutex<Ring>,
    changed: Notify,
    /// Tells it from others that the run has had, for nodes that follow it.
    life: OnceLock<u64>,
    /// Somebody brings pieces of another node here.
    followed: AtomicBool,
}

#[derive(Default)]
struct Ring {
    pieces: VecDeque<Piece>,
    /// How many pieces have left the ring.
    gone: u64,
    /// How often something was committed.
    commits: u64,
}

/// What a reader has not yet seen.
pub(crate) struct News {
    /// The pieces from its index on that are still there.
    pub(crate) pieces: Vec<Piece>,
    /// How many it has missed for good.
    pub(crate) missed: u64,
    /// Its next index.
    pub(crate) next: u64,
    /// How often something was committed.
    pub(crate) commits: u64,
}

impl Hub {
    /// The channel of a run, made when it is missing.
    pub(crate) fn channel(&self, run: &RunName) -> Arc<Channel> {
        self.channels.lock().entry(run.clone()).or_default().clone()
    }

    /// Something of this run was committed.
    pub(crate) fn committed(&self, run: &RunName) {
        let channel = self.channels.lock().get(run).cloned();
        if let Some(channel) = channel {
            channel.ring.lock().commits += 1;
            channel.changed.notify_waiters();
        }
    }

    /// The run has ended: its readers find the rest in the store.
    pub(crate) fn ended(&self, run: &RunName) {
        self.committed(run);
        self.channels.lock().remove(run);
    }

    /// A reader has gone; the last one takes the channel with it.
    pub(crate) fn release(&self, run: &RunName, channel: &Arc<Channel>) {
        let mut channels = self.channels.lock();
        // The map's and the reader's own: new ones are made under this lock alone.
        let last = Arc::strong_count(channel) <= 2;
        if last && channels.get(run).is_some_and(|kept| Arc::ptr_eq(kept, channel)) {
            channels.remove(run);
        }
    }
}

impl Channel {
    /// Adds a piece; the oldest one leaves when there are too many.
    pub(crate) fn push(&self, piece: Piece) {
        let mut ring = self.ring.lock();
        if ring.pieces.len() == PIECES_MAX {
            ring.pieces.pop_front();
            ring.gone += 1;
        }
        ring.pieces.push_back(piece);
        drop(ring);
        self.changed.notify_waiters();
    }

    /// What a reader at `index` has not yet seen.
    pub(crate) fn news(&self, index: u64) -> News {
        let ring = self.ring.lock();
        let missed = ring.gone.saturating_sub(index);
        let skip = usize::try_from(index.saturating_sub(ring.gone)).unwrap_or(usize::MAX);
        let pieces: Vec<Piece> = ring.pieces.iter().skip(skip).cloned().collect();
        News { missed, next: ring.gone + ring.pieces.len() as u64, pieces, commits: ring.commits }
    }

    /// Its number, which it gets when it is first asked for.
    pub(crate) fn life(&self, drawn: impl FnOnce() -> u64) -> u64 {
        *self.life.get_or_init(drawn)
    }

    /// Whether whoever asks is the first one, and is to bring pieces of another node here.
    pub(crate) fn is_to_be_followed(&self) -> bool {
        !self.followed.swap(true, Ordering::Relaxed)
    }

    /// Takes what another node has made and committed.
    pub(crate) fn take(&self, missed: u64, pieces: Vec<Piece>, committed: bool) {
        let mut ring = self.ring.lock();
        if missed > 0 {
            // Who reads here misses the same, and what stood before the gap goes with it.
            ring.gone += missed + ring.pieces.len() as u64;
            ring.pieces.clear();
        }
        ring.commits += u64::from(committed);
        drop(ring);
        pieces.into_iter().for_each(|piece| self.push(piece));
        self.changed.notify_waiters();
    }

    /// Completes at the next change after the future was first polled or enabled.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(index: u64) -> Piece {
        Piece { position: 1, index, body: None }
    }

    #[test]
    fn a_slow_reader_learns_what_it_missed_and_blocks_nobody() {
        let channel = Channel::default();
        let all = PIECES_MAX as u64 + 10;
        (0..all).for_each(|index| channel.push(piece(index)));
        let News { pieces, missed, next, .. } = channel.news(0);
        assert_eq!((missed, next, pieces.len()), (10, all, PIECES_MAX));
        assert_eq!(pieces.first(), Some(&piece(10)));
        let news = channel.news(all);
        assert_eq!((news.missed, news.pieces.len(), news.next), (0, 0, all));
    }

    #[test]
    fn the_last_reader_takes_the_channel_with_it() {
        let hub = Hub::default();
        let run = (ActorId::new("default", "agent", "agent-1").unwrap(), "run-1".to_owned());
        let (first, second) = (hub.channel(&run), hub.channel(&run));
        hub.release(&run, &first);
        assert_eq!(hub.channels.lock().len(), 1);
        drop(first);
        hub.release(&run, &second);
        assert_eq!(hub.channels.lock().len(), 0);
    }
}
