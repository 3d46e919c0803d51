//! Watching a beat: whether the process behind a session may be taken for gone.
//!
//! Invariant: time counts only between readings of the watcher's own that return soon after
//! each other, from the return of the first one that saw the beat to the beginning of the last
//! one. After a gap, or a reading that took long, in which the store may have been away for
//! everybody, it starts anew.

use std::time::Duration;

use super::{Lease, Session};
use crate::id::{Boot, Incarnation};

/// How far a node has come with its renewals; a later renewal is another beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Beat {
    incarnation: Incarnation,
    boot: Boot,
    beat: u64,
}

impl Beat {
    /// Which renewal it is of its session, by the number that its holder gave it.
    pub fn number(&self) -> u64 {
        self.beat
    }

    /// The beat of a session, with the lease that was read with it.
    pub fn of(session: &Session, lease: Option<&Lease>) -> Self {
        let beat = lease.map_or(0, |lease| lease.beat);
        Self { incarnation: session.incarnation, boot: session.boot, beat }
    }

    /// Whether it is of this life of the node.
    pub fn is_of(&self, session: &Session) -> bool {
        self.incarnation == session.incarnation && self.boot == session.boot
    }

    /// Which process.
    pub fn boot(&self) -> Boot {
        self.boot
    }
}

/// How long a beat has stood still, whatever it does afterwards.
#[derive(Debug, Clone)]
pub struct Stillness {
    term: Duration,
    beat: Option<Beat>,
    /// When the first reading that saw it had returned.
    since: Duration,
    /// When the last reading had returned.
    last: Duration,
}

impl Stillness {
    /// Nothing has been read yet of a lease with this term.
    pub fn new(term: Duration) -> Self {
        Self { term, beat: None, since: Duration::ZERO, last: Duration::ZERO }
    }

    /// The term that it goes by.
    pub fn term(&self) -> Duration {
        self.term
    }

    /// The beat that was read last.
    pub fn beat(&self) -> Option<Beat> {
        self.beat
    }

    /// Takes in a reading that had returned at this time of the watcher's own clock. Says whether
    /// it shows another beat than the one before.
    pub fn read(&mut self, beat: Beat, returned: Duration) -> bool {
        // To its return: while a reading waits for the store, renewals may have to wait as well.
        let is_gap = returned.saturating_sub(self.last) > self.term / 3;
        let counts = crate::mutant!("watcher_counts_gaps") || crate::mutant!("watcher_counts_its_own_pause");
        let is_gap = is_gap && !counts;
        let moved = self.beat.is_some_and(|before| before != beat);
        self.last = returned;
        if moved || is_gap || self.beat.is_none() {
            self.beat = Some(beat);
            self.since = returned;
        }
        moved
    }

    /// Whether a reading that began then shows that it stood still for a term and the margin.
    pub fn is_silent(&self, began: Duration) -> bool {
        began.saturating_sub(self.since) > self.term + self.term / 6
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

/// How long a beat has stood still, as one who wants its name sees it.
#[derive(Debug, Clone)]
pub struct Silence {
    stillness: Stillness,
    moves: u32,
}

impl Silence {
    /// Nothing has been read yet of a lease with this term.
    pub fn new(term: Duration) -> Self {
        Self { stillness: Stillness::new(term), moves: 0 }
    }

    /// Between two readings: so short that a slow one is no gap.
    pub fn pause(&self) -> Duration {
        self.stillness.term / 12
    }

    /// Takes in a reading that began and returned at these times of the watcher's own clock.
    pub fn read(&mut self, beat: Beat, began: Duration, returned: Duration) -> Seen {
        // One renewal may still land that was on its way when its process died.
        self.moves += u32::from(self.stillness.read(beat, returned));
        if self.moves > 1 {
            return Seen::Alive;
        }
        if self.stillness.is_silent(began) { Seen::Silent } else { Seen::NotYet }
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
        long_readings(all.into_iter().map(|(began, number)| (began, 10, number)))
    }

    /// The same, given also how long each takes.
    fn long_readings(all: impl IntoIterator<Item = (u64, u64, u64)>) -> Vec<Seen> {
        let mut silence = Silence::new(TERM);
        let read = |(began, took, number)| {
            silence.read(beat(number), Duration::from_millis(began), Duration::from_millis(began + took))
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

    #[test]
    fn what_long_readings_took_at_both_ends_does_not_count() {
        let seen = long_readings((0..=5).map(|n| (n * 950, 700, 7)));
        assert_eq!(seen[..5], [Seen::NotYet; 5], "3.1 s between the return of the first and the fifth");
        assert_eq!(seen[5], Seen::Silent);
    }

    #[test]
    fn a_reading_that_waited_for_the_store_is_a_gap() {
        let seen = long_readings([(0, 10, 7), (250, 4_500, 7), (5_000, 10, 7), (8_000, 10, 7)]);
        assert_eq!(seen, [Seen::NotYet; 4]);
    }

    #[test]
    fn another_life_or_process_is_another_beat() {
        let others = [Beat { incarnation: Incarnation(2), ..beat(7) }, Beat { boot: Boot(2), ..beat(7) }];
        for other in others {
            assert_ne!(other, beat(7));
        }
        let session = Session {
            incarnation: Incarnation(1),
            boot: Boot(1),
            state: crate::session::SessionState::Active,
            address: String::new(),
            version: String::new(),
            labels: std::collections::BTreeSet::new(),
            capacity: None,
            protocols: crate::session::Protocols::default(),
            lease_ms: 3_000,
        };
        let lease = Lease { incarnation: Incarnation(1), beat: 7, load: 0 };
        assert_eq!(Beat::of(&session, Some(&lease)), beat(7));
        assert_eq!(Beat::of(&Session { boot: Boot(2), ..session.clone() }, Some(&lease)), others[1]);
        assert_eq!(Beat::of(&Session { incarnation: Incarnation(2), ..session }, Some(&lease)), others[0]);
    }
}
