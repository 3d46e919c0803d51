//! When a reminder is due, and when it is due next.
//!
//! Times are milliseconds of wall time, cron expressions are read in UTC. What was missed
//! while nobody ran counts as one time: the next one lies after the present.

use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::parser::CronParser;
use serde::{Deserialize, Serialize};

use crate::limits::REMINDER_PERIOD_MIN;

/// When a reminder is to fire, as its actor says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Once, at this wall time in milliseconds.
    At(u64),
    /// Once, so long after now.
    After(Duration),
    /// Again and again, the first time one period after now.
    Every(Duration),
    /// Whenever the expression matches, in UTC: minute, hour, day of month, month, day of
    /// week, with an optional second before them and an optional year behind.
    Cron(String),
}

/// A schedule that can't be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The period is too short.
    #[error("a period of {} ms is shorter than {} ms", .period.as_millis(), REMINDER_PERIOD_MIN.as_millis())]
    TooOften {
        /// What was asked for.
        period: Duration,
    },
    /// The expression is not one of cron.
    #[error("`{expression}` is no cron expression: {problem}")]
    Cron {
        /// What was given.
        expression: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No time after now matches.
    #[error("`{expression}` never comes due")]
    Never {
        /// What was given.
        expression: String,
    },
}

/// How a reminder goes on after it has fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repeat {
    /// It is gone.
    Never,
    /// One period after the time it was due.
    Every {
        /// In milliseconds.
        period_ms: u64,
    },
    /// When the expression matches next.
    Cron {
        /// Checked when it was set.
        expression: String,
    },
}

impl Schedule {
    /// The first due time, and how it goes on from there.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kelpie_core::reminder::{Repeat, Schedule};
    ///
    /// let (due_ms, repeat) = Schedule::Every(Duration::from_secs(60)).begin(1_000)?;
    /// assert_eq!((due_ms, repeat), (61_000, Repeat::Every { period_ms: 60_000 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn begin(self, now_ms: u64) -> Result<(u64, Repeat), ScheduleError> {
        match self {
            Self::At(due_ms) => Ok((due_ms, Repeat::Never)),
            Self::After(delay) => Ok((now_ms.saturating_add(millis(delay)), Repeat::Never)),
            Self::Every(period) if period < REMINDER_PERIOD_MIN => Err(ScheduleError::TooOften { period }),
            Self::Every(period) => {
                let period_ms = millis(period);
                Ok((now_ms.saturating_add(period_ms), Repeat::Every { period_ms }))
            }
            Self::Cron(expression) => {
                let due_ms = next_match(&expression, now_ms)?;
                Ok((due_ms, Repeat::Cron { expression }))
            }
        }
    }
}

impl Repeat {
    /// When a reminder that was due then is due after now. `None`: never again.
    ///
    /// ```
    /// use kelpie_core::reminder::Repeat;
    ///
    /// // Two minutes were missed: they count as one time.
    /// assert_eq!(Repeat::Every { period_ms: 60_000 }.next(60_000, 185_000), Some(240_000));
    /// assert_eq!(Repeat::Never.next(60_000, 185_000), None);
    /// ```
    pub fn next(&self, due_ms: u64, now_ms: u64) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Every { period_ms } => {
                let period_ms = (*period_ms).max(1);
                let missed = now_ms.saturating_sub(due_ms) / period_ms;
                due_ms.checked_add(period_ms.checked_mul(missed.checked_add(1)?)?)
            }
            // The last year that an expression names may be over.
            Self::Cron { expression } => next_match(expression, now_ms.max(due_ms)).ok(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The first match after `after_ms`.
fn next_match(expression: &str, after_ms: u64) -> Result<u64, ScheduleError> {
    let cron = CronParser::new().parse(expression).map_err(|error| ScheduleError::Cron {
        expression: expression.to_owned(),
        problem: error.to_string(),
    })?;
    let never = || ScheduleError::Never { expression: expression.to_owned() };
    let after = i64::try_from(after_ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    let next = cron.find_next_occurrence(&after.ok_or_else(never)?, false).map_err(|_| never())?;
    u64::try_from(next.timestamp_millis()).ok().filter(|&next| next > after_ms).ok_or_else(never)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-26 10:00:00 UTC, a Thursday.
    const NOW: u64 = 1_795_687_200_000;
    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;

    fn cron(expression: &str) -> Schedule {
        Schedule::Cron(expression.to_owned())
    }

    #[test]
    fn a_reminder_is_due_as_its_schedule_says() {
        for (schedule, due) in [
            (Schedule::At(7), 7),
            (Schedule::After(Duration::from_secs(5)), NOW + 5_000),
            (Schedule::Every(Duration::from_mins(1)), NOW + MINUTE),
            (cron("*/5 * * * *"), NOW + 5 * MINUTE),
            (cron("30 9 * * *"), NOW + DAY - 30 * MINUTE),
            (cron("0 0 * * MON"), NOW + 3 * DAY + 14 * HOUR),
            (cron("15 * * * * *"), NOW + 15_000),
            (cron("@daily"), NOW + 14 * HOUR),
        ] {
            assert_eq!(schedule.clone().begin(NOW).map(|(due, _)| due), Ok(due), "{schedule:?}");
        }
    }

    #[test]
    fn what_can_not_be_kept_is_refused() {
        let too_often = Schedule::Every(Duration::from_millis(999)).begin(NOW);
        assert!(matches!(too_often, Err(ScheduleError::TooOften { .. })), "{too_often:?}");
        for expression in ["", "* * *", "61 * * * *", "every day"] {
            let refused = cron(expression).begin(NOW);
            assert!(matches!(refused, Err(ScheduleError::Cron { .. })), "{expression}: {refused:?}");
        }
        for expression in ["0 0 30 2 *", "0 0 0 1 1 * 2020"] {
            let refused = cron(expression).begin(NOW);
            assert!(matches!(refused, Err(ScheduleError::Never { .. })), "{expression}: {refused:?}");
        }
    }

    #[test]
    fn missed_times_count_once() {
        let every = Repeat::Every { period_ms: MINUTE };
        assert_eq!(every.next(NOW, NOW), Some(NOW + MINUTE));
        assert_eq!(every.next(NOW, NOW + MINUTE - 1), Some(NOW + MINUTE));
        assert_eq!(every.next(NOW, NOW + 10 * MINUTE + 1), Some(NOW + 11 * MINUTE));
        let hourly = Repeat::Cron { expression: "0 * * * *".to_owned() };
        assert_eq!(hourly.next(NOW, NOW + 10 * HOUR + 1), Some(NOW + 11 * HOUR));
        assert_eq!(hourly.next(NOW, NOW), Some(NOW + HOUR));
        assert_eq!(Repeat::Never.next(NOW, NOW), None);
        let over = Repeat::Cron { expression: "0 0 0 1 1 * 2026".to_owned() };
        assert_eq!(over.next(NOW, NOW), None);
    }

    proptest! {
        #[test]
        fn the_next_time_lies_after_now_and_on_the_grid(
            due in 0..NOW,
            late in 0..10 * DAY,
            period_ms in 1..DAY,
            minute in 0..60_u32,
        ) {
            let every = Repeat::Every { period_ms }.next(due, due + late).unwrap();
            prop_assert!(every > due + late && every <= due + late + period_ms);
            prop_assert_eq!((every - due) % period_ms, 0);
            let expression = format!("{minute} * * * *");
            let hourly = Repeat::Cron { expression }.next(due, due + late).unwrap();
            prop_assert!(hourly > due + late && hourly <= due + late + HOUR);
            prop_assert_eq!(hourly % HOUR, u64::from(minute) * MINUTE);
        }
    }
}
