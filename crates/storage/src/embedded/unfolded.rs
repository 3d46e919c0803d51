//! What the log holds and no checkpoint does: what a start would replay.

use std::collections::VecDeque;

use crate::contract::Version;

/// Steps kept at most, whatever was logged: figures are exact to one of them.
const STEPS: u64 = 256;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) commits: u64,
    pub(super) bytes: u64,
}

/// Counts from the opening of the store.
#[derive(Debug, Default)]
pub(super) struct Unfolded {
    logged: Amount,
    folded: Amount,
    /// How much was logged up to which version, oldest first.
    steps: VecDeque<(Version, Amount)>,
    /// Bytes of one step.
    step_bytes: u64,
}

impl Unfolded {
    /// Nothing logged yet; a checkpoint is made about every `checkpoint_bytes`.
    pub(super) fn new(checkpoint_bytes: u64) -> Self {
        Self { step_bytes: checkpoint_bytes / STEPS, ..Self::default() }
    }

    /// Everything up to `version`, so much more than before, is in the log.
    pub(super) fn logged(&mut self, version: Version, more: Amount) {
        self.logged.commits += more.commits;
        self.logged.bytes += more.bytes;
        let begun = self.steps.len().checked_sub(2).map_or(self.folded, |before| self.steps[before].1);
        match self.steps.back_mut() {
            Some(last) if self.logged.bytes - begun.bytes <= self.step_bytes => {
                *last = (version, self.logged)
            }
            Some(_) | None => self.steps.push_back((version, self.logged)),
        }
    }

    /// A durable checkpoint holds everything up to `position`.
    pub(super) fn folded(&mut self, position: Version) {
        while let Some((_, amount)) = self.steps.pop_front_if(|(version, _)| *version <= position) {
            self.folded = amount;
        }
    }

    /// How much is in the log alone.
    pub(super) fn amount(&self) -> Amount {
        Amount {
            commits: self.logged.commits - self.folded.commits,
            bytes: self.logged.bytes - self.folded.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_takes_away_what_it_holds() {
        let mut unfolded = Unfolded::new(25_600);
        for version in 1..=100 {
            unfolded.logged(version, Amount { commits: 1, bytes: 60 });
        }
        assert_eq!(unfolded.amount(), Amount { commits: 100, bytes: 6000 });
        assert!(unfolded.steps.len() > 50, "a step is a hundred bytes: {}", unfolded.steps.len());
        unfolded.folded(50);
        let left = unfolded.amount().commits;
        assert!((50..=51).contains(&left), "{left}");
        unfolded.folded(100);
        assert_eq!(unfolded.amount(), Amount::default());
    }

    #[test]
    fn steps_are_bounded_by_bytes() {
        let mut unfolded = Unfolded::new(256_000);
        for version in 1..=100_000 {
            unfolded.logged(version, Amount { commits: 1, bytes: 10 });
        }
        assert!(unfolded.steps.len() <= 1001 + 1, "{}", unfolded.steps.len());
    }
}
