//! The way from one node to another, and what can be wrong with it.

use std::num::NonZeroU64;
use std::time::Duration;

use super::super::chance::{Chance, Event, nanos, scale, scale_index};
use super::super::fault::{Fault, Marks};
use super::mailbox::Letter;

/// What is wrong with the way from one node to another: nothing at first.
///
/// Chances are in millionths, of each message or of each portion that a stream carries.
/// Streams are TCP's: they lose, double and reorder nothing silently. What would is a later
/// arrival there, or the end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkFaults {
    /// A message is lost. A portion is sent again after 200 ms, then 400 ms and so on; the
    /// connection is reset when it is lost for the seventh time.
    pub drop_ppm: u32,
    /// A message arrives twice, each at its own time.
    pub duplicate_ppm: u32,
    /// A copy of a message arrives once more after up to [`LinkFaults::replay_after_max`],
    /// by then perhaps at a later life of its receiver.
    pub replay_ppm: u32,
    /// How long after the message its late copy arrives at most, and at least half of that.
    pub replay_after_max: Duration,
    /// A message is held up by up to [`LinkFaults::reorder_max`], so that later ones
    /// overtake it.
    pub reorder_ppm: u32,
    /// How long a message is held up at most for others to overtake it.
    pub reorder_max: Duration,
    /// What everything takes longer than the world's own delay.
    pub delay: Duration,
    /// A delay up to [`LinkFaults::tail_max`] on top, of which each next power of two is
    /// half as likely.
    pub tail_ppm: u32,
    /// The longest of the rare delays.
    pub tail_max: Duration,
    /// One bit is flipped; no checksum below notices.
    pub flip_bit_ppm: u32,
    /// A message loses its end. A connection ends within the portion, as if it had been
    /// closed there.
    pub truncate_ppm: u32,
    /// The connection is reset: before the portion arrives, or after a part of it.
    pub reset_ppm: u32,
    /// How many bytes get through in a second; what is sent faster waits.
    pub bytes_per_second: Option<NonZeroU64>,
    /// How many bytes may wait because of [`LinkFaults::bytes_per_second`] or
    /// [`LinkFaults::clogged`]. A message beyond is lost, a connection is reset.
    pub queue_bytes_max: Option<u64>,
    /// Holds everything back until it is false again.
    pub clogged: bool,
}

const SECOND_NS: u128 = 1_000_000_000;

/// What TCP waits before it sends again what was lost, at first.
const RETRY_NS: u64 = 200_000_000;

/// How often TCP sends again before it gives up.
const RETRIES_MAX: u32 = 6;

/// Number `n` of the tail's octaves ends at its longest delay divided by two to the power `n`.
const TAIL_OCTAVES: u64 = 12;

/// The state of one way.
#[derive(Default)]
pub(super) struct Link {
    blocked: bool,
    faults: LinkFaults,
    /// Whether anything is wrong with it: what most links are asked for.
    harmed: bool,
    /// The instant when all that waits for the bandwidth has left.
    free_at: u64,
    /// What is held back by a clog.
    held: Vec<Letter>,
    /// The latest message that has arrived.
    latest: u64,
    /// The life of the receiver that something arrived at.
    met: Option<u64>,
}

/// What decides over what passes a link.
pub(in crate::sim) struct Fate<'a> {
    pub(in crate::sim) now: u64,
    /// The longest of the world's own delays.
    pub(in crate::sim) delay_max: Duration,
    pub(in crate::sim) chance: &'a mut Chance,
    pub(in crate::sim) marks: &'a Marks,
}

/// What comes of a portion of a stream.
pub(super) enum Passage {
    /// Arrives at that instant.
    Whole(u64),
    /// So many of its bytes arrive, then the end of the stream.
    Closed(u64, usize),
    /// So many of its bytes arrive, then a reset.
    Reset(u64, usize),
}

impl Link {
    /// Whether a partition lies across it.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn is_clogged(&self) -> bool {
        self.faults.clogged
    }

    /// Whether nothing gets through at present.
    pub(super) fn holds(&self) -> bool {
        self.blocked || self.faults.clogged
    }

    pub(super) fn is_sound(&self) -> bool {
        !self.harmed
    }

    pub(super) fn faults(&self) -> LinkFaults {
        self.faults
    }

    pub(super) fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
        self.harmed = blocked || self.faults != LinkFaults::default();
    }

    /// Whether so many more bytes find no room in the queue.
    fn overflows(&self, now: u64, bytes: usize) -> bool {
        let Some(most) = self.faults.queue_bytes_max else { return false };
        let rate = u128::from(self.faults.bytes_per_second.map_or(0, NonZeroU64::get));
        let waiting = u128::from(self.free_at.saturating_sub(now)) * rate / SECOND_NS;
        let held: usize = self.held.iter().map(|letter| letter.bytes.len()).sum();
        waiting + wide(held) + wide(bytes) > u128::from(most)
    }

    /// When so many bytes, sent now, arrive at the other end: after the world's delay, and
    /// what this way adds to it.
    pub(super) fn arrival(&mut self, bytes: usize, fate: &mut Fate<'_>) -> u64 {
        let Fate { now, delay_max, chance, marks } = fate;
        let now = *now;
        let base = chance.delay(Event::Net, *delay_max);
        if self.is_sound() {
            return now.saturating_add(base);
        }
        let faults = &self.faults;
        let mut left = now;
        if let Some(rate) = faults.bytes_per_second {
            if self.free_at > now {
                marks.fire(Fault::BandwidthCap);
            }
            let takes = wide(bytes) * SECOND_NS / u128::from(rate.get());
            self.free_at = now.max(self.free_at).saturating_add(u64::try_from(takes).unwrap_or(u64::MAX));
            left = self.free_at;
        }
        if !faults.delay.is_zero() {
            marks.fire(Fault::Delay);
        }
        let mut extra = nanos(faults.delay);
        if chance.hits(Event::Net, faults.tail_ppm) {
            marks.fire(Fault::HeavyTailDelay);
            let octave = chance.below(Event::Net, TAIL_OCTAVES);
            extra = extra.saturating_add(scale(chance.draw(Event::Net), nanos(faults.tail_max) >> octave));
        }
        left.saturating_add(base).saturating_add(extra)
    }

    /// Passes a message on: harms it and says when it (and each copy) arrives.
    pub(super) fn pass(&mut self, mut letter: Letter, fate: &mut Fate<'_>) -> Vec<(u64, Letter)> {
        let faults = self.faults;
        let Fate { now, chance, marks, .. } = fate;
        let now = *now;
        if chance.hits(Event::Net, faults.drop_ppm) {
            marks.fire(Fault::Drop);
            return vec![];
        }
        if self.overflows(now, letter.bytes.len()) {
            marks.fire(Fault::QueueOverflow);
            return vec![];
        }
        if !letter.bytes.is_empty() && chance.hits(Event::Net, faults.truncate_ppm) {
            marks.fire(Fault::TruncatedFrame);
            letter.bytes.truncate(chance.index(Event::Net, letter.bytes.len()));
        }
        if !letter.bytes.is_empty() && chance.hits(Event::Net, faults.flip_bit_ppm) {
            marks.fire(Fault::BitFlip);
            let mut bytes = letter.bytes.to_vec();
            flip_bit(&mut bytes, chance);
            letter.bytes = bytes.into();
        }
        let mut passed = Vec::with_capacity(1);
        if chance.hits(Event::Net, faults.replay_ppm) {
            let most = nanos(faults.replay_after_max);
            let after = most / 2 + chance.below(Event::Net, most / 2 + 1);
            let copy = Letter { copy: Some(Fault::LateReplay), ..letter.clone() };
            passed.push((now.saturating_add(after), copy));
        }
        let mut letters = vec![letter];
        if chance.hits(Event::Net, faults.duplicate_ppm) {
            letters.push(Letter { copy: Some(Fault::Duplicate), ..letters[0].clone() });
        }
        for letter in letters {
            if faults.clogged {
                self.hold(letter, fate.marks);
                continue;
            }
            let mut at = self.arrival(letter.bytes.len(), fate);
            if fate.chance.hits(Event::Net, faults.reorder_ppm) {
                let most = nanos(faults.reorder_max).saturating_add(1);
                at = at.saturating_add(fate.chance.below(Event::Net, most));
            }
            passed.push((at, letter));
        }
        passed
    }

    /// Passes a portion of a stream on, and flips a bit of it if it is to be.
    pub(super) fn carry(&mut self, bytes: &mut [u8], opener: bool, fate: &mut Fate<'_>) -> Passage {
        let faults = self.faults;
        let (now, marks) = (fate.now, fate.marks);
        let lost = if opener { Fault::RequestLost } else { Fault::ReplyLost };
        if self.overflows(now, bytes.len()) {
            marks.fire(Fault::QueueOverflow);
            marks.fire(lost);
            return Passage::Reset(now, 0);
        }
        let mut at = self.arrival(bytes.len(), fate);
        let chance = &mut *fate.chance;
        if chance.hits(Event::Net, faults.flip_bit_ppm) {
            marks.fire(Fault::BitFlip);
            flip_bit(bytes, chance);
        }
        for retry in 0.. {
            if !chance.hits(Event::Net, faults.drop_ppm) {
                break;
            }
            marks.fire(Fault::Drop);
            if retry == RETRIES_MAX {
                marks.fire(lost);
                return Passage::Reset(at, 0);
            }
            at = at.saturating_add(RETRY_NS << retry);
        }
        if chance.hits(Event::Net, faults.reset_ppm) {
            let part = if chance.one_in(Event::Net, 2) { 0 } else { chance.index(Event::Net, bytes.len()) };
            marks.fire(if part == 0 { lost } else { Fault::ResetMidFrame });
            return Passage::Reset(at, part);
        }
        if chance.hits(Event::Net, faults.truncate_ppm) {
            marks.fire(Fault::TruncatedFrame);
            return Passage::Closed(at, chance.index(Event::Net, bytes.len()));
        }
        Passage::Whole(at)
    }

    /// Keeps what arrives at a clog.
    pub(super) fn hold(&mut self, letter: Letter, marks: &Marks) {
        marks.fire(Fault::Clog);
        self.held.push(letter);
    }

    /// Changes its faults. Returns what was held back and is not any more.
    pub(super) fn set(&mut self, faults: LinkFaults) -> Vec<Letter> {
        if faults.bytes_per_second != self.faults.bytes_per_second {
            self.free_at = 0;
        }
        self.faults = faults;
        self.set_blocked(self.blocked);
        if faults.clogged { vec![] } else { std::mem::take(&mut self.held) }
    }

    /// A message arrives at a life of its receiver.
    pub(super) fn arrived(&mut self, letter: &Letter, life: u64, marks: &Marks) {
        if let Some(copy) = letter.copy {
            marks.fire(copy);
        } else if letter.number < self.latest {
            marks.fire(Fault::Reorder);
        }
        self.latest = self.latest.max(letter.number);
        self.reached(life, marks);
    }

    /// Something arrives at a life of its receiver.
    pub(super) fn reached(&mut self, life: u64, marks: &Marks) {
        if self.met.replace(life).is_some_and(|met| met != life) {
            marks.fire(Fault::StaleAddress);
        }
    }
}

fn flip_bit(bytes: &mut [u8], chance: &mut Chance) {
    let drawn = chance.draw(Event::Net);
    let at = scale_index(drawn, bytes.len());
    bytes[at] ^= 1 << (drawn % 8);
}

fn wide(bytes: usize) -> u128 {
    u128::try_from(bytes).expect("a length")
}
