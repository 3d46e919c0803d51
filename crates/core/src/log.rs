//! The write-ahead log: every decision about it, without the disk.
//!
//! ```text
//!   Append ─▶ Sync ─▶ Publish ─▶ Checkpoint ─▶ Cut          while running
//!                                                Recover     at the start
//! ```
//!
//! A record is *pending* from its fsync until a checkpoint has folded it, *complete* when the
//! durable checkpoint position is at or past its [`Lsn`]. The log is a chain of segments;
//! each has a generation of its own, which enters the checksum of every record in it, and a
//! header that names its predecessor and the last record that counts there: writing that
//! header is what cuts a torn tail, durably.
//!
//! The specification is `specs/KelpieWAL.tla`; its actions say which function they are.
//!
//! Invariant: an LSN is never used again, not after a cut tail and not in a recycled segment;
//! nothing is published that was not synced, and nothing is cut that no durable checkpoint
//! holds.

pub mod frame;
pub mod recovery;

/// The place of a record in the log. Later records have larger ones; numbers are skipped and
/// never used twice.
pub type Lsn = u64;

/// By how much LSNs jump at a start, and so more than the records that can have been given a
/// number without leaving a trace: those of the batches in flight and in formation.
pub const LSN_JUMP: u64 = 1 << 32;

/// How far the log has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Log {
    next: Lsn,
    synced: Lsn,
    published: Lsn,
    checkpoint: Lsn,
    condition: Condition,
}

/// Whether the log takes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It does.
    Open,
    /// A sync failed: what is on disk is unknown until a restart reads it.
    Poisoned,
    /// It was closed.
    Closed,
}

impl Log {
    /// A log that goes on after a recovery.
    pub fn new(recovered: &recovery::Recovered, checkpoint: Lsn) -> Self {
        let last = recovered.last;
        Self { next: recovered.next, synced: last, published: last, checkpoint, condition: Condition::Open }
    }

    /// Gives the next record its number.
    pub fn append(&mut self) -> Result<Lsn, Condition> {
        match self.condition {
            Condition::Open => {
                let lsn = self.next;
                self.next += 1;
                Ok(lsn)
            }
            refused @ (Condition::Poisoned | Condition::Closed) => Err(refused),
        }
    }

    /// Everything up to `through` would survive a power cut.
    pub fn sync(&mut self, through: Lsn) {
        assert!(self.synced <= through && through < self.next, "only what was appended is synced, in order");
        self.synced = through;
    }

    /// A sync failed. No record is acknowledged any more; retrying it would prove nothing.
    pub fn sync_failed(&mut self) {
        self.condition = Condition::Poisoned;
    }

    /// Everything that was synced becomes visible: returns up to where.
    pub fn publish(&mut self) -> Lsn {
        self.published = self.synced;
        self.published
    }

    /// A durable checkpoint holds everything up to `position`.
    pub fn checkpoint(&mut self, position: Lsn) {
        assert!(position <= self.published, "only what is visible is folded");
        self.checkpoint = self.checkpoint.max(position);
    }

    /// Whether a segment whose last record is `last` may go: all of it is complete.
    pub fn may_cut(&self, last: Lsn) -> bool {
        last <= self.checkpoint
    }

    /// No more records.
    pub fn close(&mut self) {
        if self.condition == Condition::Open {
            self.condition = Condition::Closed;
        }
    }

    /// Whether it takes records.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// The last record that is visible.
    pub fn published(&self) -> Lsn {
        self.published
    }

    /// The last record that would survive a power cut.
    pub fn synced(&self) -> Lsn {
        self.synced
    }

    /// The last record that a durable checkpoint holds.
    pub fn position(&self) -> Lsn {
        self.checkpoint
    }

    /// The number of the next record.
    pub fn next(&self) -> Lsn {
        self.next
    }
}
