//! What a person may want to see of a run: who sent what to whom, who lived when.

use std::time::Duration;

use parking_lot::Mutex;

/// Something that can be seen from outside. Nodes are numbered in the order of
/// [`Sim::nodes`].
///
/// [`Sim::nodes`]: super::Sim::nodes
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// A message has set out.
    Sent {
        /// Its number, which no other has.
        letter: u64,
        /// The node that it comes from.
        from: u32,
        /// The node that it goes to.
        to: u32,
        /// How long it is.
        bytes: usize,
    },
    /// A message, or a copy of one, has been delivered.
    Arrived {
        /// Its number.
        letter: u64,
    },
    /// A node has lost its power, or its process was killed.
    Ended {
        /// Which.
        node: u32,
    },
    /// A node lives again.
    Started {
        /// Which.
        node: u32,
    },
    /// The process of a node stands still.
    Paused {
        /// Which.
        node: u32,
    },
    /// The process of a node goes on.
    Resumed {
        /// Which.
        node: u32,
    },
}

/// The first so many sights.
pub(super) struct Sights {
    max: usize,
    seen: Mutex<Vec<(Duration, Sight)>>,
}

impl Sights {
    pub(super) fn new(max: usize) -> Self {
        Self { max, seen: Mutex::default() }
    }

    /// Keeps what was seen at `now`, if there is room for it.
    pub(super) fn see(&self, now: u64, sight: Sight) {
        if self.max > 0 {
            let mut seen = self.seen.lock();
            if seen.len() < self.max {
                seen.push((Duration::from_nanos(now), sight));
            }
        }
    }

    pub(super) fn all(&self) -> Vec<(Duration, Sight)> {
        self.seen.lock().clone()
    }
}
