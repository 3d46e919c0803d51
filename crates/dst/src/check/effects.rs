//! Each effect once.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;

use parking_lot::Mutex;

/// Writes down what clients asked for under which key, what they were told, and what
/// happened in the outside world. Cheap to clone; all clones are one ledger.
///
/// ```
/// use kelpie_dst::check::EffectLedger;
///
/// let ledger = EffectLedger::new();
/// ledger.attempted("pay-1");
/// ledger.happened("pay-1"); // in the fake bank
/// ledger.attempted("pay-1"); // the answer was lost: asked again with the same key
/// ledger.acknowledged("pay-1", "receipt 7");
/// ledger.check().unwrap();
///
/// ledger.happened("pay-1");
/// let twice = ledger.check().unwrap_err();
/// assert_eq!(twice.to_string(), r#""pay-1" happened 2 times"#);
/// ```
#[derive(Debug)]
pub struct EffectLedger<K, R> {
    entries: Arc<Mutex<BTreeMap<K, Entry<R>>>>,
}

#[derive(Debug)]
struct Entry<R> {
    attempts: u64,
    refusals: u64,
    effects: u64,
    /// Different replies, each once.
    replies: Vec<R>,
}

impl<R> Default for Entry<R> {
    fn default() -> Self {
        Self { attempts: 0, refusals: 0, effects: 0, replies: Vec::new() }
    }
}

/// What is wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectViolation<R> {
    /// It happened more than once.
    Repeated {
        /// How often.
        effects: u64,
    },
    /// It was acknowledged and did not happen.
    Lost,
    /// Every attempt was definitely refused, and it happened all the same.
    RefusedAndHappened,
    /// It happened or was acknowledged, and nobody has asked for it.
    Unasked,
    /// It was acknowledged with replies that differ.
    TwoReplies {
        /// All of them.
        replies: Vec<R>,
    },
    /// It was neither acknowledged nor were all attempts refused.
    Unanswered,
}

/// Keys whose effect did not happen exactly once, or not as their callers were told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct EffectsError<K: Debug, R: Debug> {
    /// In the order of the keys.
    pub violations: Vec<(K, EffectViolation<R>)>,
}

impl<K: Debug, R: Debug> Display for EffectsError<K, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (number, (key, violation)) in self.violations.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            match violation {
                EffectViolation::Repeated { effects } => write!(f, "{key:?} happened {effects} times")?,
                EffectViolation::Lost => write!(f, "{key:?} was acknowledged and did not happen")?,
                EffectViolation::RefusedAndHappened => write!(f, "{key:?} was refused and happened")?,
                EffectViolation::Unasked => write!(f, "{key:?} happened and nobody had asked for it")?,
                EffectViolation::TwoReplies { replies } => {
                    write!(f, "{key:?} has more than one reply: {replies:?}")?;
                }
                EffectViolation::Unanswered => write!(f, "{key:?} was never answered")?,
            }
        }
        Ok(())
    }
}

impl<K: Clone + Ord + Debug, R: Clone + PartialEq + Debug> EffectLedger<K, R> {
    /// An empty ledger.
    pub fn new() -> Self {
        Self { entries: Arc::default() }
    }

    /// A client is about to ask for the effect of `key`, for the first time or again.
    pub fn attempted(&self, key: K) {
        self.change(key, |entry| entry.attempts += 1);
    }

    /// A client was told that it happened, and `reply`.
    pub fn acknowledged(&self, key: K, reply: R) {
        self.change(key, |entry| {
            if !entry.replies.contains(&reply) {
                entry.replies.push(reply);
            }
        });
    }

    /// A client was told that this attempt has not made it happen and never will.
    pub fn refused(&self, key: K) {
        self.change(key, |entry| entry.refusals += 1);
    }

    /// It happened, as the outside world (not the caller) saw it.
    pub fn happened(&self, key: K) {
        self.change(key, |entry| entry.effects += 1);
    }

    /// Judges what has been written down so far: each effect at most once, each
    /// acknowledgement true. Fine at any time when effects are written down before their
    /// acknowledgements.
    pub fn check(&self) -> Result<(), EffectsError<K, R>> {
        self.judged(false)
    }

    /// As [`EffectLedger::check`], and nobody was left without an answer.
    pub fn check_settled(&self) -> Result<(), EffectsError<K, R>> {
        self.judged(true)
    }

    fn change(&self, key: K, change: impl FnOnce(&mut Entry<R>)) {
        change(self.entries.lock().entry(key).or_default());
    }

    fn judged(&self, settled: bool) -> Result<(), EffectsError<K, R>> {
        let entries = self.entries.lock();
        let mut violations = Vec::new();
        for (key, entry) in entries.iter() {
            violations
                .extend(entry.violations(settled).into_iter().map(|violation| (key.clone(), violation)));
        }
        if violations.is_empty() { Ok(()) } else { Err(EffectsError { violations }) }
    }
}

impl<K: Clone + Ord + Debug, R: Clone + PartialEq + Debug> Default for EffectLedger<K, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, R> Clone for EffectLedger<K, R> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone() }
    }
}

impl<R: Clone> Entry<R> {
    fn violations(&self, settled: bool) -> Vec<EffectViolation<R>> {
        let acknowledged = !self.replies.is_empty();
        let all_refused = !acknowledged && self.refusals >= self.attempts;
        let mut found = Vec::new();
        if self.attempts == 0 {
            found.push(EffectViolation::Unasked);
        } else if all_refused && self.effects > 0 {
            found.push(EffectViolation::RefusedAndHappened);
        }
        if self.effects > 1 {
            found.push(EffectViolation::Repeated { effects: self.effects });
        }
        if acknowledged && self.effects == 0 {
            found.push(EffectViolation::Lost);
        }
        if self.replies.len() > 1 {
            found.push(EffectViolation::TwoReplies { replies: self.replies.clone() });
        }
        if settled && !acknowledged && !all_refused {
            found.push(EffectViolation::Unanswered);
        }
        found
    }
}
