//! Watching a beat: whether the process behind a session may be taken for gone.
//!
//! Invariant: time counts only between readings of the watcher's own that are close together,
//! from the return of the first one that saw the beat to the beginning of the last one. After
//! a gap, in which the store may have been away for everybody, it starts anew.

use std::time::Duration;

use super::{Lease, Session};
use crate::id::{Boot, Incarnation};

/// How far a node has come with its renewals; a later renewal is another beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    incarnation: Incarnation,
    boot: Boot,
    beat: u64,
}

impl Beat {
    /// The beat of a session, with the lease that was read with it.
    pub fn of(session: &Session, lease: Option<&Lease>) -> Self {
        let beat = lease.map_or(0, |lease| lease.beat);
        Self { incarnation: session.incarnation, boot: session.boot, beat }
    }
}

/// What a watcher knows after a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It has not stood still for long enough: read again after [`Silence::pause`].
    NotYet,
    /// It has stood still for longer than a term and the margin.
    Silent,
    /// It moves: a process renews it.
    Alive,
}

/// How long a beat has stood still, as one watcher sees it.
#[derive(Debug, Clone)]
pub struct Silence {
    term: Duration,
    beat: Option<Beat>,
    /// When the first reading that saw it had returned.
    since: Duration,
    /// When the last reading had returned.
    last: Duration,
    moves: u32,
}

impl Silence {
    /// Nothing has been read yet of a lease with this term.
    pub fn new(term: Duration) -> Self {
        Self { term, beat: None, since: Duration::ZERO, last: Duration::ZERO, moves: 0 }
    }

    /// Between two readings: so short that a slow one is no gap.
    pub fn pause(&self) -> Duration {
        self.term / 12
    }

    /// Takes in a reading that began and returned at these times of the watcher's own clock.
    pub fn read(&mut self, beat: Beat, began: Duration, returned: Duration) -> Seen {
        let is_gap = began.saturating_sub(self.last) > self.term / 3;
        let moved = self.beat.is_some_and(|before| before != beat);
        self.last = returned;
        // One renewal may still land that was on its way when its process died.
        self.moves += u32::from(moved);
        if self.moves > 1 {
            return Seen::Alive;
        }
        if moved || is_gap || self.beat.is_none() {
            self.beat = Some(beat);
            self.since = returned;
        }
        let margin = self.term / 6;
        if began.saturating_sub(self.since) > self.term + margin { Seen::Silent } else { Seen::NotYet }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(3);

    fn beat(beat: u64) -> Beat {
        Beat { incarnation: Incarnation(1), boot: Boot(1), beat }
    }

    /// What readings of 10 ms say, given when each begins (in milliseconds) and what it reads.
    fn readings(all: impl IntoIterator<Item = (u64, u64)>) -> Vec<Seen> {
        let mut silence = Silence::new(TERM);
        let read = |(began, number)| {
            silence.read(beat(number), Duration::from_millis(began), Duration::from_millis(began + 10))
        };
        all.into_iter().map(read).collect()
    }

    #[test]
    fn a_beat_is_silent_after_a_term_and_the_margin() {
        let seen = readings((0..=15).map(|n| (n * 250, 7)));
        assert_eq!(seen[..15], [Seen::NotYet; 15], "3.5 s from the return of the first reading");
        assert_eq!(seen[15], Seen::Silent);
    }

    #[test]
    fn a_beat_that_moves_once_is_watched_anew_and_one_that_moves_on_is_alive() {
        let seen = readings((0..=20).map(|n| (n * 250, u64::from(n > 3))));
        assert_eq!(seen.iter().position(|seen| *seen == Seen::Silent), Some(19));
        let seen = readings((0..=20).map(|n| (n * 250, n / 4)));
        assert_eq!(seen.iter().position(|seen| *seen != Seen::NotYet), Some(8));
        assert_eq!(seen[8], Seen::Alive);
    }

    #[test]
    fn what_was_not_watched_does_not_count() {
        let seen = readings([(0, 7), (250, 7), (5_000, 7), (5_250, 7)]);
        assert_eq!(seen, [Seen::NotYet; 4], "the store may have been away for everybody");
    }
}
