//! How often something may happen, by who does it.
//!
//! Each name has a time from which on it owes nothing; each event puts that time one interval
//! later, and an event comes too soon when the time lies more than a burst ahead. (The generic
//! cell rate algorithm, ITU-T I.371: one number a name, no timer.)

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So often a second in the long run.
    pub per_second: NonZeroU32,
    /// So often at once.
    pub burst: NonZeroU32,
}

/// Names that are told apart; beyond it, what everybody may is all that is known of new ones.
const NAMES_MAX: usize = 100_000;

/// Counts events of names.
#[derive(Debug)]
pub struct Limiter<N> {
    interval: Duration,
    ahead_max: Duration,
    /// When a name owes nothing any more. Names that owe nothing are absent, in time.
    settled_at: BTreeMap<N, Duration>,
}

impl<N: Ord + Clone> Limiter<N> {
    /// Everybody may do it as often as `rate` says.
    pub fn new(rate: Rate) -> Self {
        let interval = Duration::from_secs(1) / rate.per_second.get();
        let ahead_max = interval * (rate.burst.get() - 1);
        Self { interval, ahead_max, settled_at: BTreeMap::new() }
    }

    /// Counts an event, or says after how long there is room for it.
    pub fn take(&mut self, name: &N, now: Duration) -> Result<(), Duration> {
        let settled_at = self.settled_at.get(name).map_or(now, |at| now.max(*at));
        let ahead = settled_at - now;
        if ahead > self.ahead_max {
            return Err(ahead - self.ahead_max);
        }
        if self.settled_at.len() >= NAMES_MAX && !self.settled_at.contains_key(name) {
            self.settled_at.retain(|_, at| *at > now);
            if self.settled_at.len() >= NAMES_MAX {
                return Ok(());
            }
        }
        self.settled_at.insert(name.clone(), settled_at + self.interval);
        Ok(())
    }

    /// Takes back an event that was counted a moment ago and has not happened after all.
    pub fn give_back(&mut self, name: &N) {
        if let Some(settled_at) = self.settled_at.get_mut(name) {
            *settled_at = settled_at.saturating_sub(self.interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_second: u32, burst: u32) -> Limiter<u8> {
        let number = |number| NonZeroU32::new(number).unwrap();
        Limiter::new(Rate { per_second: number(per_second), burst: number(burst) })
    }

    fn taken(limiter: &mut Limiter<u8>, name: u8, ms: u64) -> u32 {
        let now = Duration::from_millis(ms);
        (0..100).map(|_| u32::from(limiter.take(&name, now).is_ok())).sum()
    }

    #[test]
    fn a_burst_passes_and_then_so_many_a_second_each_for_itself() {
        let mut limiter = limiter(10, 5);
        assert_eq!(taken(&mut limiter, 1, 0), 5);
        assert_eq!(limiter.take(&1, Duration::ZERO), Err(Duration::from_millis(100)));
        assert_eq!(taken(&mut limiter, 2, 0), 5);
        assert_eq!(taken(&mut limiter, 1, 99), 0);
        assert_eq!(taken(&mut limiter, 1, 100), 1);
        assert_eq!(taken(&mut limiter, 1, 350), 2);
        assert_eq!(taken(&mut limiter, 1, 60_000), 5);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut limiter = limiter(10, 5);
        limiter.give_back(&1);
        assert_eq!(taken(&mut limiter, 1, 0), 5);
        limiter.give_back(&1);
        assert_eq!(taken(&mut limiter, 1, 0), 1);
    }

    #[test]
    fn names_that_owe_nothing_are_forgotten() {
        let number = |number| NonZeroU32::new(number).unwrap();
        let mut limiter = Limiter::new(Rate { per_second: number(1_000), burst: number(1) });
        for name in 0..3 * NAMES_MAX {
            let now = Duration::from_micros(name as u64 * 100);
            assert!(limiter.take(&name, now).is_ok());
            assert!(limiter.settled_at.len() <= NAMES_MAX);
        }
    }
}
