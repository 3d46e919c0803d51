//! How long a provider is waited for, and how often it is asked again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ModelError;

/// Limits of one question to a model. The defaults suit services and slow local models alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patience {
    /// For the connection to stand.
    pub connect: Duration,
    /// From the question to the head of the response. A model on a slow machine reads a long
    /// prompt before it says anything.
    pub start: Duration,
    /// Between two pieces of the stream.
    pub idle: Duration,
    /// For a whole answer, however steadily it comes.
    pub answer: Duration,
    /// For a list of models.
    pub list: Duration,
    /// How often the model is asked, the first time included; at least once.
    pub attempts_max: u32,
    /// The pause before the second attempt; each further one is twice as long.
    pub pause_first: Duration,
    /// The longest pause that we choose ourselves.
    pub pause_max: Duration,
    /// No new attempt starts later than this after the first one started.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            start: Duration::from_secs(180),
            idle: Duration::from_secs(120),
            answer: Duration::from_secs(900),
            list: Duration::from_secs(10),
            attempts_max: 5,
            pause_first: Duration::from_millis(500),
            pause_max: Duration::from_secs(20),
            total: Duration::from_secs(300),
        }
    }
}

/// The attempts at one answer.
#[derive(Debug)]
pub(super) struct Attempts<'a> {
    patience: &'a Patience,
    started: Duration,
    made: u32,
}

/// What to do about a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask again after this pause.
    Again(Duration),
    /// Tell the caller.
    GiveUp(ModelError),
}

impl<'a> Attempts<'a> {
    /// Nothing asked yet; `now` is when the first attempt starts.
    pub(super) fn new(patience: &'a Patience, now: Duration) -> Self {
        Self { patience, started: now, made: 0 }
    }

    /// How many attempts have failed.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// An attempt has failed. `random` spreads callers that failed together.
    pub(super) fn failed(&mut self, now: Duration, error: ModelError, random: u64) -> Next {
        self.made += 1;
        if !error.worth_repeating() {
            return Next::GiveUp(error);
        }
        let pause = self.pause(random).max(error.retry_after().unwrap_or_default());
        let too_late = now.saturating_add(pause).saturating_sub(self.started) > self.patience.total;
        if self.made >= self.patience.attempts_max || too_late {
            return Next::GiveUp(ModelError::Exhausted { attempts: self.made, last: Box::new(error) });
        }
        Next::Again(pause)
    }

    /// Between half of the exponential pause and all of it.
    fn pause(&self, random: u64) -> Duration {
        let doublings = self.made.saturating_sub(1).min(31);
        let whole = self.patience.pause_first.saturating_mul(1 << doublings).min(self.patience.pause_max);
        let half = whole / 2;
        let spread_ns = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(if spread_ns == 0 { 0 } else { random % (spread_ns + 1) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Attempts, Next, Patience};
    use crate::provider::ModelError;

    fn limited(retry_after: Option<Duration>) -> ModelError {
        ModelError::RateLimited { retry_after, message: String::new() }
    }

    /// The pauses of a provider that never answers, in milliseconds, and the end.
    fn pauses(random: u64, retry_after: Option<Duration>) -> (Vec<u128>, ModelError) {
        let patience = Patience::default();
        let mut now = Duration::from_secs(7);
        let mut attempts = Attempts::new(&patience, now);
        let mut pauses = vec![];
        loop {
            now += Duration::from_secs(1);
            match attempts.failed(now, limited(retry_after), random) {
                Next::Again(pause) => {
                    pauses.push(pause.as_millis());
                    now += pause;
                }
                Next::GiveUp(error) => return (pauses, error),
            }
        }
    }

    #[test]
    fn pauses_double_and_the_attempts_end() {
        let (shortest, end) = pauses(0, None);
        assert_eq!(shortest, [250, 500, 1000, 2000]);
        assert_eq!(end, ModelError::Exhausted { attempts: 5, last: Box::new(limited(None)) });
        assert_eq!(end.code(), "model.rate_limited");
    }

    #[test]
    fn the_provider_may_ask_for_a_longer_pause_but_not_beyond_the_total() {
        let (asked, _) = pauses(0, Some(Duration::from_secs(2)));
        assert_eq!(asked, [2000, 2000, 2000, 2000]);
        let (asked, end) = pauses(0, Some(Duration::from_secs(140)));
        assert_eq!(asked, [140_000, 140_000]);
        assert!(matches!(end, ModelError::Exhausted { attempts: 3, .. }));
    }

    #[test]
    fn what_cannot_help_is_not_repeated() {
        let patience = Patience::default();
        let mut attempts = Attempts::new(&patience, Duration::ZERO);
        let error = ModelError::Refused { status: 400, message: String::new() };
        assert_eq!(attempts.failed(Duration::ZERO, error.clone(), 1), Next::GiveUp(error));
    }

    proptest! {
        #[test]
        fn pauses_stay_within_their_bounds(random: u64) {
            let (pauses, _) = pauses(random, None);
            for (pause, whole) in pauses.into_iter().zip([500, 1000, 2000, 4000]) {
                prop_assert!((whole / 2..=whole).contains(&pause), "{} of {}", pause, whole);
            }
        }
    }
}
