//! What an agent may use up in a day: tokens and answers of models.

use serde::{Deserialize, Serialize};

use crate::provider::Usage;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What may be used up in a day (UTC); what is absent has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Tokens of prompts and answers together.
    pub tokens_per_day: Option<u64>,
    /// Answers of models.
    pub steps_per_day: Option<u64>,
}

/// What was used up on the last day that anything was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// The day, since 1970.
    pub day: u64,
    /// Tokens of prompts and answers together.
    pub tokens: u64,
    /// Answers of models.
    pub steps: u64,
}

impl Spent {
    /// Counts an answer.
    pub fn add(&mut self, now_ms: u64, usage: Usage) {
        *self = self.on(now_ms);
        self.tokens = self.tokens.saturating_add(usage.input_tokens.saturating_add(usage.output_tokens));
        self.steps += 1;
    }

    /// What was used up on the day of this moment: a clock that goes back to an earlier day does
    /// not make that day new.
    pub fn on(self, now_ms: u64) -> Self {
        let day = now_ms / DAY_MS;
        if day > self.day { Self { day, ..Self::default() } } else { self }
    }
}

impl Budget {
    /// Whether a model may be asked once more; else why not.
    ///
    /// ```
    /// use kelpie_agent::budget::{Budget, Spent};
    ///
    /// let budget = Budget { steps_per_day: Some(1), ..Budget::default() };
    /// assert_eq!(budget.allows(Spent::default(), 0), Ok(()));
    /// assert!(budget.allows(Spent { steps: 1, ..Spent::default() }, 0).is_err());
    /// ```
    ///
    /// # Errors
    /// Which limit was reached.
    pub fn allows(self, spent: Spent, now_ms: u64) -> Result<(), String> {
        let spent = spent.on(now_ms);
        let over = |limit: Option<u64>, used: u64| limit.filter(|limit| used >= *limit);
        if let Some(limit) = over(self.tokens_per_day, spent.tokens) {
            return Err(format!("the agent has used {} of {limit} tokens today (UTC)", spent.tokens));
        }
        match over(self.steps_per_day, spent.steps) {
            Some(limit) => {
                Err(format!("the agent has used {} of {limit} model calls today (UTC)", spent.steps))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, ..Usage::default() }
    }

    #[test]
    fn a_day_has_its_limit_and_the_next_one_begins_anew() {
        let budget = Budget { tokens_per_day: Some(10), steps_per_day: Some(2) };
        let mut spent = Spent::default();
        spent.add(DAY_MS - 1, usage(3, 2));
        assert_eq!(budget.allows(spent, DAY_MS - 1), Ok(()));
        spent.add(DAY_MS - 1, usage(1, 1));
        assert!(budget.allows(spent, DAY_MS - 1).expect_err("two steps").contains("2 of 2 model calls"));
        assert_eq!(budget.allows(spent, DAY_MS), Ok(()), "another day");
        spent.add(DAY_MS, usage(9, 3));
        assert!(budget.allows(spent, DAY_MS).expect_err("12 tokens").contains("12 of 10 tokens"));
        assert!(budget.allows(spent, 0).is_err(), "a clock that goes back gives nothing back");
        assert_eq!(Budget::default().allows(spent, DAY_MS), Ok(()));
    }
}
