//! Commits that were carried out and that nobody may see yet.
//!
//! ```text
//!   snapshots taken ─▶ commit carried out ─────────────────────▶ acknowledged
//!                      │ transactions begin with those snapshots │ lifted: from here on all see it
//! ```
//!
//! It is as if the commit happened when the veil is lifted: until then its client was told
//! nothing, and nobody has seen it. So the veil falls as soon as anything could tell of what
//! it hides: an acknowledgement (of any commit), a transaction that begins with a newer
//! version, a watch that is made or completes.

use super::session::Held;

/// Transactions that may begin while it hides something.
pub(super) const SNAPSHOTS_MAX: usize = 4;

#[derive(Default)]
pub(super) struct Veil {
    hidden: Option<Hidden>,
    /// Commits carried out.
    commits: u64,
    /// Of these, so many were carried out when the newest snapshot was taken.
    seen: u64,
}

struct Hidden {
    snapshots: Vec<Held>,
    /// Commits carried out when they were taken.
    commits: u64,
}

impl Veil {
    /// Hides what is carried out from now on, if nothing is hidden yet.
    pub(super) fn draw(&mut self, snapshots: Vec<Held>) {
        if self.hidden.is_none() {
            self.hidden = Some(Hidden { snapshots, commits: self.commits });
        }
    }

    pub(super) fn is_drawn(&self) -> bool {
        self.hidden.is_some()
    }

    /// A commit was carried out.
    pub(super) fn committed(&mut self) {
        self.commits += 1;
    }

    /// A snapshot from before what is hidden, while there is one left, and whether something
    /// is hidden from it already.
    pub(super) fn take(&mut self) -> Option<(Held, bool)> {
        let Hidden { snapshots, commits } = self.hidden.as_mut()?;
        Some((snapshots.pop()?, self.commits > *commits))
    }

    /// What was hidden may be seen. The snapshots that are left are to be dropped by the
    /// caller, without its lock.
    #[must_use]
    pub(super) fn lift(&mut self) -> Vec<Held> {
        self.hidden.take().map(|hidden| hidden.snapshots).unwrap_or_default()
    }

    /// A snapshot of all that was carried out was taken: how much that is.
    pub(super) fn saw_all(&mut self) -> u64 {
        self.seen = self.commits;
        self.seen
    }

    /// Whether somebody has seen more than this.
    pub(super) fn was_seen_beyond(&self, commits: u64) -> bool {
        self.seen > commits
    }
}
