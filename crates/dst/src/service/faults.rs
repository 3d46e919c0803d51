//! What the store service may do to its clients, and how often it did.
//!
//! Each fault is something that a strictly serializable store with an unreliable way to it
//! may do. What it may not do has no fault here: show a state older than what was
//! acknowledged before the transaction began, lose what was acknowledged, answer for a
//! commit that has not happened, happen twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kelpie_env::Env;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Observer;

/// What is wrong with the service: nothing at first. Plain data, for a plan.
///
/// Chances are in millionths, of each request that they could concern.
///
/// ```
/// use kelpie_dst::service::StoreFaults;
///
/// let storm = StoreFaults { conflict_ppm: 900_000, ..StoreFaults::default() };
/// assert_eq!(StoreFaults::default().unavailable_ppm, 0);
/// assert_ne!(storm, StoreFaults::default());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreFaults {
    /// A commit that depends on what was read is refused as a conflict, without reason.
    pub conflict_ppm: u32,
    /// Somebody else writes what a commit depends on, just before it.
    pub rival_ppm: u32,
    /// A commit is never carried out, and never answered.
    pub lost_commit_ppm: u32,
    /// A commit is carried out, and never answered.
    pub lost_answer_ppm: u32,
    /// A commit is never answered, and carried out after up to
    /// [`StoreFaults::late_commit_max`]: also when its client has given it up.
    pub late_commit_ppm: u32,
    /// How late a late commit is at most.
    pub late_commit_max: Duration,
    /// A read or a commit is definitely refused.
    pub unavailable_ppm: u32,
    /// A commit is carried out, and up to [`StoreFaults::stale_max`] pass before anybody sees
    /// it: until then transactions begin before it, and it is not acknowledged.
    pub stale_ppm: u32,
    /// How long a commit stays unseen at most.
    pub stale_max: Duration,
    /// A transaction that has just begun is held up for up to [`StoreFaults::split_max`], so
    /// that others begin later, see more, and are answered before it.
    pub split_ppm: u32,
    /// How long a beginning is held up at most.
    pub split_max: Duration,
    /// Nobody is told that a watched key has changed: its watcher finds out by asking again.
    pub lost_notice_ppm: u32,
    /// That a watched key has changed becomes known after up to
    /// [`StoreFaults::late_notice_max`], also to who asks.
    pub late_notice_ppm: u32,
    /// How late a notice is at most.
    pub late_notice_max: Duration,
    /// A transaction counts as too old, however young it is.
    pub too_old_ppm: u32,
    /// A request waits for up to [`StoreFaults::slow_max`] before anything is done about it.
    pub slow_ppm: u32,
    /// How long a request waits at most.
    pub slow_max: Duration,
}

macro_rules! marks {
    ($($(#[$doc:meta])* $mark:ident = $name:literal,)*) => {
        /// Something that happened to clients of the service.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Mark { $($(#[$doc])* $mark,)* }

        /// The names of all faults that the store service counts. They are stable.
        pub const STORE_FAULTS: &[&str] = &[$($name,)*];
    };
}

marks! {
    /// Refused without reason.
    Conflict = "conflict-storm",
    /// Refused because of a write that nobody but the fault has asked for.
    Rival = "rival-writer",
    /// A client was told that the outcome of its commit is unknown.
    Unknown = "unknown-commit",
    LostCommit = "unknown-commit-never-landed",
    LostAnswer = "unknown-commit-landed",
    /// Counted when it has landed.
    LateCommit = "unknown-commit-landed-late",
    Unavailable = "store-unavailable",
    /// A transaction began before a commit that had been carried out.
    Stale = "stale-cache",
    /// A transaction was answered after another had seen more.
    Split = "split-view",
    LostNotice = "lost-notice",
    LateNotice = "late-expiry-notice",
    TooOld = "too-old-transaction",
    Slow = "slow-store",
    Crash = "store-crash",
    Restart = "store-restart",
    Pause = "store-pause",
    /// The backend could not go on after a failed fsync and was opened anew.
    Reopened = "store-reopened",
    /// A frame that was not what had been sent.
    DamagedFrame = "damaged-frame",
    /// A commit request that had been carried out already.
    Repeated = "repeated-commit-request",
    /// A request for an earlier life of the server.
    EarlierLife = "request-of-an-earlier-life",
    /// More requests at once than the server takes.
    Overloaded = "store-overloaded",
}

/// How often each of them happened.
pub(super) struct Marks(Mutex<[u64; STORE_FAULTS.len()]>);

impl Marks {
    pub(super) fn new() -> Self {
        Self(Mutex::new([0; STORE_FAULTS.len()]))
    }

    pub(super) fn fire(&self, mark: Mark) {
        self.0.lock()[mark as usize] += 1;
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        STORE_FAULTS.iter().copied().zip(*self.0.lock()).collect()
    }
}

/// What is wrong at present, and what came of it.
pub(super) struct Control {
    /// Who is told of every commit.
    pub(super) observer: Mutex<Option<Arc<dyn Observer>>>,
    /// How many commits were handed to the backend.
    pub(super) handed: AtomicU64,
    pub(super) faults: Mutex<StoreFaults>,
    pub(super) marks: Marks,
}

impl Control {
    pub(super) fn new() -> Self {
        Self {
            observer: Mutex::default(),
            handed: AtomicU64::new(0),
            faults: Mutex::default(),
            marks: Marks::new(),
        }
    }

    /// Whether a fault with this chance happens now.
    pub(super) fn happens(&self, env: &Env, chance: impl FnOnce(&StoreFaults) -> u32) -> bool {
        let ppm = chance(&self.faults.lock());
        // Without the fault nothing is drawn.
        ppm > 0 && env.random_u64() % 1_000_000 < u64::from(ppm)
    }

    /// If a fault with this chance happens now, a part of its longest time.
    pub(super) fn time(
        &self,
        env: &Env,
        chance: impl FnOnce(&StoreFaults) -> (u32, Duration),
    ) -> Option<Duration> {
        let (ppm, max) = chance(&self.faults.lock());
        if ppm == 0 || env.random_u64() % 1_000_000 >= u64::from(ppm) {
            return None;
        }
        let max = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX - 1);
        Some(Duration::from_nanos(env.random_u64() % (max + 1)))
    }
}
