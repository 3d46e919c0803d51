//! What an operator may know of a server's store. Kelpie's own, not part of the Letta format.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a store holds and has done since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreStats {
    /// Which backend.
    pub backend: String,
    /// 32 hexadecimal digits that change with every restore; missing before a node has joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// The last visible version.
    pub version: u64,
    /// Everything up to here is folded below the log.
    pub checkpoint: u64,
    /// Keys in memory above the checkpoint.
    pub memtable_keys: u64,
    /// Bytes in memory above the checkpoint.
    pub memtable_bytes: u64,
    /// Bytes of log above the checkpoint.
    pub log_bytes: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Batches made durable, each with one fsync.
    pub batches: u64,
    /// Commits made durable.
    pub commits: u64,
    /// Commits that a start would replay from the log.
    pub unfolded_commits: u64,
    /// Their bytes in the log.
    pub unfolded_bytes: u64,
    /// Commits refused because of what they had read, by cause.
    pub conflicts: StoreConflicts,
    /// Of each batch the commit that waited longest; each commit where there are no batches.
    pub commit_times: StoreTimes,
    /// Writing and syncing a batch.
    pub fsync_times: StoreTimes,
    /// Whole checkpoints.
    pub checkpoint_times: StoreTimes,
}

/// Commits refused because of what they had read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreConflicts {
    /// A key that was read has been written since.
    pub point_reads: u64,
    /// Something in a range that was read has been written since.
    pub range_reads: u64,
    /// The transaction was older than the store keeps versions for.
    pub too_old: u64,
    /// A database underneath decided, and does not say over what.
    #[serde(default)]
    pub by_server: u64,
}

/// How often something happened and how long it took, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreTimes {
    /// How often.
    pub count: u64,
    /// Half of them took no longer.
    pub p50_us: u64,
    /// Of a hundred one took longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}
