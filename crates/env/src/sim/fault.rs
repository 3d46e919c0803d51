//! The names of all faults, and how often each has had an effect.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident = $name:literal,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Fault { $($(#[$doc])* $fault,)* }

        /// The names of all faults that this world can inject, by area. They are stable.
        pub const FAULTS: &[&str] = &[$($name,)*];
    };
}

faults! {
    /// A message is lost, or a portion of a stream is sent again later.
    Drop = "drop",
    Delay = "delay",
    HeavyTailDelay = "heavy-tail-delay",
    /// A message arrives twice.
    Duplicate = "duplicate",
    /// A copy of a message arrives long after it.
    LateReplay = "late-replay",
    /// A message arrives after one that was sent later.
    Reorder = "reorder",
    SymmetricPartition = "symmetric-partition",
    AsymmetricPartition = "asymmetric-partition",
    /// Something is held up at a node that all others are cut off from.
    IsolateOne = "isolate-one",
    Clog = "clog",
    BandwidthCap = "bandwidth-cap",
    QueueOverflow = "queue-overflow",
    ResetMidFrame = "reset-mid-frame",
    BitFlip = "bit-flip",
    TruncatedFrame = "truncated-frame",
    /// A connection is reset with bytes of its opener under way.
    RequestLost = "request-lost",
    /// A connection is reset with bytes of its acceptor under way.
    ReplyLost = "reply-lost",
    /// An address leads to a later life of a node than before.
    StaleAddress = "stale-address",
}

/// How often each fault has had an effect.
pub(super) struct Marks([AtomicU64; FAULTS.len()]);

impl Marks {
    pub(super) fn new() -> Self {
        Self([const { AtomicU64::new(0) }; FAULTS.len()])
    }

    pub(super) fn fire(&self, fault: Fault) {
        self.0[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds these counts to those of `all`, which gets an entry for every fault.
    pub(super) fn add_to(&self, all: &mut BTreeMap<&'static str, u64>) {
        for (name, count) in FAULTS.iter().zip(&self.0) {
            *all.entry(name).or_default() += count.load(Ordering::Relaxed);
        }
    }
}
