//! Every decision of a simulation, drawn from one seed and put into its trace.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::trace::{MIX, Trace};

pub(super) use super::trace::Event;

/// Streams of the generator. The simulator's decisions and the nodes' numbers never mix,
/// so that one more draw in a node does not change another node's numbers.
const DECISIONS: u64 = 0;
const FIRST_NODE: u64 = 1;
const ASIDE: u64 = u64::MAX - 1;

pub(super) struct Chance {
    random: ChaCha8Rng,
    pub(super) trace: Trace,
}

impl Chance {
    pub(super) fn new(seed: u64, trace: Trace) -> Self {
        Self { random: stream(seed, DECISIONS), trace }
    }

    pub(super) fn draw(&mut self, event: Event) -> u64 {
        let drawn = self.random.next_u64();
        self.note(event, drawn);
        drawn
    }

    /// A number in `0..limit`; 0 for the empty range.
    pub(super) fn below(&mut self, event: Event, limit: u64) -> u64 {
        scale(self.draw(event), limit)
    }

    /// A place in something of that length; 0 for nothing.
    pub(super) fn index(&mut self, event: Event, length: usize) -> usize {
        scale_index(self.draw(event), length)
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, event: Event, n: u64) -> bool {
        self.below(event, n) == 0
    }

    /// True in so many of a million times; costs nothing when never.
    pub(super) fn hits(&mut self, event: Event, ppm: u32) -> bool {
        ppm > 0 && self.below(event, 1_000_000) < u64::from(ppm)
    }

    /// Zero every fourth time, since "at once" is where races hide; else up to `max`.
    pub(super) fn delay(&mut self, event: Event, max: Duration) -> u64 {
        let drawn = self.draw(event);
        if drawn.is_multiple_of(4) { 0 } else { scale(drawn, nanos(max).saturating_add(1)) }
    }

    /// Puts bytes into the trace.
    pub(super) fn note_bytes(&mut self, event: Event, bytes: &[u8]) {
        let mut sums = [u64::try_from(bytes.len()).expect("lengths have 64 bits"); 4];
        for part in bytes.chunks(ZEROES.len()) {
            if *part == ZEROES[..part.len()] {
                // Files are zeroed for later, by megabytes.
                sums[0] = mixed(sums[0], 0);
            } else {
                mix_into(&mut sums, part);
            }
        }
        self.note(event, sums.into_iter().fold(0, mixed));
    }

    /// Puts what happened into the trace.
    pub(super) fn note(&mut self, event: Event, value: u64) {
        self.trace.note(event, value);
    }
}

/// A digest of a few numbers.
pub(super) fn digest(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |sum, number| mixed(sum, *number))
}

static ZEROES: [u8; 4096] = [0; 4096];

/// Mixes bytes into four sums side by side: one would wait for itself.
fn mix_into(sums: &mut [u64; 4], bytes: &[u8]) {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    for block in blocks.iter().chain([&last]) {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
            *sum = mixed(*sum, u64::from_le_bytes(*word));
        }
    }
}

fn mixed(sum: u64, word: u64) -> u64 {
    (sum.rotate_left(5) ^ word).wrapping_mul(MIX)
}

/// The stream of random numbers of node number `node`.
pub(super) fn of_node(seed: u64, node: u32) -> ChaCha8Rng {
    stream(seed, FIRST_NODE + u64::from(node))
}

/// The stream for who asks past the seam.
pub(super) fn aside(seed: u64) -> ChaCha8Rng {
    stream(seed, ASIDE)
}

fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// `drawn` (of all 64 bits) scaled to `0..limit`.
pub(super) fn scale(drawn: u64, limit: u64) -> u64 {
    let scaled = (u128::from(drawn) * u128::from(limit)) >> 64;
    u64::try_from(scaled).expect("the high half of a product of two 64-bit numbers")
}

/// `drawn` scaled to `0..length`.
pub(super) fn scale_index(drawn: u64, length: usize) -> usize {
    let limit = u64::try_from(length).expect("lengths have 64 bits");
    usize::try_from(scale(drawn, limit)).expect("less than a length")
}

/// Nanoseconds; a span beyond 584 years is as good as endless.
pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
