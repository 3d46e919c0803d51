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

    /// A wall clock that was off from the start is read.
    ClockSkew = "clock-skew",
    /// A clock that runs fast or slow is read, for the first time since it does.
    ClockDrift = "clock-drift",
    /// A wall clock that has jumped is read, for the first time since.
    WallJumpForward = "wall-jump-forward",
    WallJumpBack = "wall-jump-back",
    /// A wall clock that stands is read.
    ClockFreeze = "clock-freeze",
    /// A clock is read between two of its steps.
    CoarseClock = "coarse-clock",
    TimerEarly = "timer-early",
    TimerLate = "timer-late",
    /// A task is ready and its process stands.
    ProcessPause = "process-pause",

    /// The power of a live node is cut.
    Crash = "crash",
    /// Somebody waits for a node that is gone without a word.
    SilentCrash = "silent-crash",
    /// The power is cut with something written and not synced.
    CrashBeforeSync = "crash-before-sync",
    /// A process dies and its machine goes on.
    ProcessKill = "process-kill",
    RestartWithEmptyDisk = "restart-with-empty-disk",
    RestartWithOldDisk = "restart-with-old-disk",
    /// A ready task waits for the processor of its slow node.
    SlowNode = "slow-node",

    TornWrite = "torn-write",
    LostUnsyncedWrite = "lost-unsynced-write",
    ReorderedUnsyncedWrites = "reordered-unsynced-writes",
    /// Of the unsynced changes of files some survive a power cut and others do not.
    PartialBatch = "partial-batch",
    RenameNotDurable = "rename-not-durable",
    /// A file that was created or removed is not, or is there again.
    NameNotDurable = "name-not-durable",
    FsyncError = "fsync-error",
    LyingFsync = "lying-fsync",
    WriteError = "write-error",
    ReadError = "read-error",
    BitRot = "bit-rot",
    MisdirectedWrite = "misdirected-write",
    MisdirectedRead = "misdirected-read",
    /// A read brings what a write has replaced since.
    StaleRead = "stale-read",
    DiskFull = "disk-full",
    SlowDisk = "slow-disk",
}

/// How often each fault has had an effect.
pub(super) struct Marks([AtomicU64; FAULTS.len()]);

impl Default for Marks {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; FAULTS.len()])
    }
}

impl Marks {
    pub(super) fn fire(&self, fault: Fault) {
        self.add(fault, 1);
    }

    pub(super) fn add(&self, fault: Fault, times: u64) {
        if times > 0 {
            self.0[fault as usize].fetch_add(times, Ordering::Relaxed);
        }
    }

    /// Adds these counts to those of `all`, which gets an entry for every fault.
    pub(super) fn add_to(&self, all: &mut BTreeMap<&'static str, u64>) {
        for (name, count) in FAULTS.iter().zip(&self.0) {
            *all.entry(name).or_default() += count.load(Ordering::Relaxed);
        }
    }
}
