//! One transaction: reads at one version, buffered writes, the ranges that must not change.

mod buffer;
mod page;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::protocol::Step;
use kelpie_core::{record, row};

use crate::atomic::AtomicOp;
use crate::contract::{CommitError, CommitRequest, Committed, ReadError, Snapshot, Stamped};
use crate::keys::KeyRange;
use crate::limits::{
    LimitError, TRANSACTION_BYTES_MAX, TRANSACTION_TIME_MAX, VERSIONSTAMP_BYTES, check_key, check_value,
};
use crate::store::Shared;
pub(crate) use buffer::apply_changes;
use buffer::{Buffered, WriteBuffer};
pub use page::{Page, RangeQuery};

/// A transaction. Dropping it forgets it; nothing has happened then.
pub struct Transaction {
    shared: Arc<Shared>,
    /// What reads see, fixed at the first one.
    view: Option<View>,
    buffer: WriteBuffer,
    stamped: Vec<Stamped>,
    /// What it does, in the words of the specifications, if somebody wants to know.
    steps: Vec<Step>,
    reads: Vec<Bytes>,
    read_ranges: Vec<KeyRange>,
    write_conflicts: Vec<KeyRange>,
    /// The first thing that was too large; told at the commit.
    limit: Option<LimitError>,
    /// Whether a read failed in a way that a fresh transaction may get over.
    read_failed: Option<ReadError>,
}

struct View {
    snapshot: Box<dyn Snapshot>,
    /// When it was taken.
    taken: Duration,
}

impl Transaction {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            view: None,
            buffer: WriteBuffer::default(),
            stamped: Vec::new(),
            steps: Vec::new(),
            reads: Vec::new(),
            read_ranges: Vec::new(),
            write_conflicts: Vec::new(),
            limit: None,
            read_failed: None,
        }
    }

    /// The value of `key`. The commit fails if someone writes it in between.
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        // What this transaction has set or cleared itself depends on no one else.
        if !matches!(self.buffer.get(key), Buffered::Value(_)) {
            self.reads.push(Bytes::copy_from_slice(key));
        }
        self.get_snapshot(key).await
    }

    /// The value of `key` at this transaction's version, without noting that it was read.
    pub async fn get_snapshot(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        check_key(key, self.key_bytes_max())?;
        if let Buffered::Value(value) = self.buffer.get(key) {
            return Ok(value.cloned());
        }
        let stored = self.view().await?.get(key).wait().await;
        let stored = stored.map_err(|e| self.note(e))?;
        Ok(match self.buffer.get(key) {
            Buffered::Changes(changes) => apply_changes(stored, changes),
            Buffered::Nothing | Buffered::Value(_) => stored,
        })
    }

    /// The values of `keys`, in their order, read together: one round trip to a remote store
    /// where [`Transaction::get`] takes one for each.
    pub async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        for key in keys {
            if !matches!(self.buffer.get(key), Buffered::Value(_)) {
                self.reads.push(key.clone());
            }
        }
        self.get_many_snapshot(keys).await
    }

    /// As [`Transaction::get_many`], without noting that they were read.
    pub async fn get_many_snapshot(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        for key in keys {
            check_key(key, self.key_bytes_max())?;
        }
        let stored = self.view().await?.get_many(keys).wait().await;
        let stored = stored.map_err(|e| self.note(e))?;
        let seen = |(key, stored): (&Bytes, _)| match self.buffer.get(key) {
            Buffered::Value(value) => value.cloned(),
            Buffered::Changes(changes) => apply_changes(stored, changes),
            Buffered::Nothing => stored,
        };
        Ok(keys.iter().zip(stored).map(seen).collect())
    }

    /// Fixes what reads see, as the first read does.
    pub async fn fix_version(&mut self) -> Result<(), ReadError> {
        let fixed = self.view().await?.get_many(&[]).wait().await;
        fixed.map(drop).map_err(|e| self.note(e))
    }

    async fn view(&mut self) -> Result<&dyn Snapshot, ReadError> {
        match &self.view {
            Some(view) if self.is_too_old(view) => return Err(self.note(ReadError::TooOld)),
            Some(_) => {}
            None => {
                let begun = self.shared.backend.begin().wait().await;
                let snapshot = begun.map_err(|e| self.note(e))?;
                self.view = Some(View { snapshot, taken: self.shared.env.now() });
            }
        }
        Ok(&*self.view.as_ref().expect("there was one, or it was just made").snapshot)
    }

    /// Makes `value` the value of `key`.
    pub fn set(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.check(check_key(&key, self.key_bytes_max()).and_then(|()| check_value(&value)));
        self.buffer.set(key, value);
    }

    /// Removes `key`.
    pub fn clear(&mut self, key: impl Into<Bytes>) {
        let key = key.into();
        self.check(check_key(&key, self.key_bytes_max()));
        self.buffer.clear(key);
    }

    /// Removes all keys from `begin` up to but without `end`.
    pub fn clear_range(&mut self, begin: impl Into<Bytes>, end: impl Into<Bytes>) {
        self.buffer.clear_range(KeyRange::new(begin, end));
    }

    /// Changes the value of `key` without reading it, so that it never conflicts.
    pub fn atomic(&mut self, op: AtomicOp, key: impl Into<Bytes>, operand: impl Into<Bytes>) {
        let (key, operand) = (key.into(), operand.into());
        self.check(check_key(&key, self.key_bytes_max()).and_then(|()| check_value(&operand)));
        self.buffer.atomic(op, key, operand);
    }

    /// Writes `value` under `key` with the ten bytes at `offset` replaced by the commit's
    /// versionstamp, which grows from commit to commit. For cold paths: on other backends it
    /// costs a lock held through the commit.
    pub fn set_versionstamped_key(
        &mut self,
        key: impl Into<Vec<u8>>,
        offset: usize,
        value: impl Into<Bytes>,
    ) {
        let (key, value) = (key.into(), value.into());
        self.check(check_key(&key, self.key_bytes_max()).and_then(|()| check_value(&value)));
        if offset.checked_add(VERSIONSTAMP_BYTES).is_none_or(|end| end > key.len()) {
            self.check(Err(LimitError::Versionstamp { offset, bytes: key.len() }));
        }
        self.stamped.push(Stamped { key, offset, value });
    }

    /// Says what this transaction does, in the words of the specifications. Written down with its
    /// commit by a store that records ([`crate::Store::recording`]), else not even looked at.
    pub fn record(&mut self, step: impl FnOnce() -> Step) {
        if self.shared.records {
            self.steps.push(step());
        }
    }

    /// Makes the commit fail if someone writes in `range` in between, as if it had been read.
    pub fn add_read_conflict(&mut self, range: KeyRange) {
        if !range.is_empty() {
            self.read_ranges.push(range);
        }
    }

    /// Makes others that read in `range` conflict, as if it had been written.
    pub fn add_write_conflict(&mut self, range: KeyRange) {
        if !range.is_empty() {
            self.write_conflicts.push(range);
        }
    }

    /// Commits. A transaction that only read is already serializable at the version it saw.
    pub async fn commit(mut self) -> Result<Committed, CommitError> {
        self.commit_in_place().await
    }

    /// As [`Transaction::commit`]; leaves an empty transaction behind.
    pub(crate) async fn commit_in_place(&mut self) -> Result<Committed, CommitError> {
        if let Some(limit) = self.limit {
            return Err(limit.into());
        }
        if self.is_read_only() {
            return Ok(Committed { version: None });
        }
        if !self.steps.is_empty() {
            let mut key = row::protocol().to_vec();
            let offset = key.len();
            key.resize(offset + VERSIONSTAMP_BYTES, 0);
            let steps = record::encode(&mem::take(&mut self.steps));
            self.set_versionstamped_key(key, offset, steps);
        }
        let bytes = self.bytes();
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(LimitError::Transaction { bytes }.into());
        }
        if !self.reads.is_empty() || !self.read_ranges.is_empty() {
            // Not too old; and an explicit conflict range without a read counts from now on.
            self.view().await.map_err(CommitError::from)?;
        }
        let (clears, writes) = mem::take(&mut self.buffer).into_parts();
        let request = CommitRequest {
            reads: mem::take(&mut self.reads),
            read_ranges: mem::take(&mut self.read_ranges),
            clears,
            writes,
            stamped: mem::take(&mut self.stamped),
            write_conflicts: mem::take(&mut self.write_conflicts),
        };
        match self.view.take() {
            Some(view) => view.snapshot.commit(request).await,
            None => self.shared.backend.commit(request).wait().await,
        }
    }

    /// Whether it leaves nothing, so that nothing can become of its commit. What is too large
    /// was to be left.
    pub(crate) fn is_read_only(&self) -> bool {
        self.buffer.is_empty()
            && self.stamped.is_empty()
            && self.write_conflicts.is_empty()
            && self.limit.is_none()
    }

    /// A read failure after which a fresh transaction may succeed, if there was one.
    pub(crate) fn read_failure(&mut self) -> Option<ReadError> {
        self.read_failed.take()
    }

    fn is_too_old(&self, view: &View) -> bool {
        self.shared.env.now().saturating_sub(view.taken) > TRANSACTION_TIME_MAX
    }

    fn note(&mut self, error: ReadError) -> ReadError {
        self.read_failed = Some(error.clone());
        error
    }

    fn key_bytes_max(&self) -> usize {
        self.shared.backend.key_bytes_max()
    }

    fn check(&mut self, checked: Result<(), LimitError>) {
        if let (Err(limit), None) = (checked, self.limit) {
            self.limit = Some(limit);
        }
    }

    fn bytes(&self) -> usize {
        let ranges = self.read_ranges.iter().chain(&self.write_conflicts);
        self.buffer.bytes()
            + self.stamped.iter().map(|s| s.key.len() + s.value.len()).sum::<usize>()
            + self.reads.iter().map(Bytes::len).sum::<usize>()
            + ranges.map(|r| r.begin.len() + r.end.len()).sum::<usize>()
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("reads", &self.reads)
            .field("buffer", &self.buffer)
            .finish_non_exhaustive()
    }
}

impl From<ReadError> for CommitError {
    /// A read on the way to the commit failed, so nothing was sent.
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooOld => Self::TooOld,
            ReadError::Conflict => Self::Conflict,
            ReadError::Unavailable(outage) => Self::Unavailable(outage),
            ReadError::Limit(limit) => Self::Limit(limit),
        }
    }
}
