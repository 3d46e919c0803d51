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
//! Invariant: who makes pieces never waits for who reads them. The ring is bounded. When it is full, what
//! nobody has read yet grows instead of what is oldest being lost; a reader that has fallen behind its
//! beginning all the same is told so.

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
    /// How many the quickest reader has seen, of those that have left as well.
    seen: u64,
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

impl Piece {
    /// Takes in what comes right after it, if both add to one text. The number is the later one: who comes
    /// back with it has had both.
    fn joined(&mut self, next: &Self) -> bool {
        let (Some((part, body)), Some((next_part, next_body))) = (&mut self.body, &next.body) else {
            return false;
        };
        // The first piece of an attempt tells whether its beginning is there.
        if self.position != next.position || self.index == 0 || part != next_part {
            return false;
        }
        match (body, next_body) {
            (MessageBody::Assistant { text }, MessageBody::Assistant { text: more })
            | (MessageBody::Reasoning { text }, MessageBody::Reasoning { text: more })
            | (
                MessageBody::ToolCall { arguments: text, .. },
                MessageBody::ToolCall { arguments: more, .. },
            ) => {
                text.push_str(more);
            }
            _ => return false,
        }
        if kelpie_core::mutant!("joined_piece_keeps_its_number") {
            return true;
        }
        self.index = next.index;
        true
    }
}

impl Ring {
    fn push(&mut self, piece: Piece) {
        if self.pieces.len() == PIECES_MAX {
            let unseen = self.seen < self.gone + PIECES_MAX as u64;
            if self.pieces.back_mut().is_some_and(|last| unseen && last.joined(&piece)) {
                return;
            }
            self.pieces.pop_front();
            self.gone += 1;
        }
        self.pieces.push_back(piece);
    }
}

impl Channel {
    /// Adds a piece, to the last one when there are too many and nobody has seen that; else the oldest
    /// one leaves then.
    pub(crate) fn push(&self, piece: Piece) {
        self.ring.lock().push(piece);
        self.changed.notify_waiters();
    }

    /// What a reader at `index` has not yet seen; one at `u64::MAX` only looks whether there is any.
    pub(crate) fn news(&self, index: u64) -> News {
        let mut ring = self.ring.lock();
        if index < u64::MAX {
            ring.seen = ring.gone + ring.pieces.len() as u64;
        }
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

    fn what_nobody_has_read_grows() {
        let channel = Channel::default();
        let word = |index: u64| {
            let text = format!("{index} ");
            Piece { position: 1, index, body: Some((0, MessageBody::Assistant { text })) }
        };
        let said = |pieces: &[Piece]| -> String {
            let text = |piece: &Piece| match &piece.body {
                Some((_, MessageBody::Assistant { text })) => text.clone(),
                other => panic!("{other:?}"),
            };
            pieces.iter().map(text).collect()
        };
        let words = |range: std::ops::Range<u64>| range.map(|index| format!("{index} ")).collect::<String>();
        let (full, all) = (PIECES_MAX as u64, 3 * PIECES_MAX as u64);
        (0..all).for_each(|index| channel.push(word(index)));
        let News { pieces, missed, next, .. } = channel.news(0);
        assert_eq!((missed, next, pieces.last().map(|last| last.index)), (0, full, Some(all - 1)));
        assert_eq!(said(&pieces), words(0..all));
        // That was seen: the next one is a piece of its own, and the oldest leaves.
        channel.push(word(all));
        let news = channel.news(next);
        assert_eq!((news.missed, said(&news.pieces)), (0, words(all..all + 1)));
        let other = Piece { body: Some((1, MessageBody::Reasoning { text: "x".into() })), ..word(all + 1) };
        channel.push(other.clone());
        assert_eq!(channel.news(0).missed, 2, "another part is never joined");
        assert_eq!(channel.news(full + 1).pieces, [other]);
    }

    #[test]
    fn what_nobody_has_read_grows_before_anything_is_lost() {
        what_nobody_has_read_grows();
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn mutant_joined_piece_keeps_its_number() {
        let _armed = kelpie_core::mutant::arm("joined_piece_keeps_its_number");
        std::panic::catch_unwind(what_nobody_has_read_grows).expect_err("the seeded bug was not noticed");
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
