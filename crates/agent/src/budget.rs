//! What agents and tenants may use up in a day: tokens, answers of models, money.
//!
//! ```text
//!   before a model is asked   what its agent has used today, what its tenant has   ─▶ or refused
//!   with the answer's commit  the agent's own count (`progress`)
//!                             the tenant's: added to one of its rows of the day     `spent`
//! ```
//!
//! The tenant's count is a sum of rows that no agent owns: the commit that records an answer adds
//! to one of them, without reading it, so that agents do not wait for each other. As part of that
//! commit it is counted once, whatever crashes.
//!
//! Invariant: what a tenant's agents have used on a day, together, is the sum of its rows of that
//! day.

use kelpie_core::id::ActorId;
use serde::{Deserialize, Serialize};

use crate::price::Prices;
use crate::provider::Usage;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Rows of a tenant and day. On a store that reads what it adds to, agents of one row conflict
/// with each other; each question to a model reads all of them.
const ROWS: u8 = 16;

/// What may be used up in a day (UTC); what is absent has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Tokens of prompts and answers together.
    pub tokens_per_day: Option<u64>,
    /// Answers of models.
    pub steps_per_day: Option<u64>,
    /// What they cost, in millionths of a dollar.
    pub microdollars_per_day: Option<u64>,
}

/// What the operator of a node says about money, and about its tenants.
#[derive(Debug, Clone, Default)]
pub struct Spending {
    /// What models cost.
    pub prices: Prices,
    /// What all agents of one tenant may use up together.
    pub tenant: Budget,
}

/// Whose budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// One agent's.
    Agent,
    /// That of all agents of a tenant together.
    Tenant,
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Agent => "the agent",
            Self::Tenant => "the tenant",
        })
    }
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
    /// What they cost, in millionths of a dollar; those of models without a price are not in it.
    pub microdollars: u64,
}

impl Spent {
    /// What one answer uses up.
    pub fn one(now_ms: u64, usage: Usage, microdollars: u64) -> Self {
        let tokens = usage.input_tokens.saturating_add(usage.output_tokens);
        Self { day: day_of(now_ms), tokens, steps: 1, microdollars }
    }

    /// Counts more of the same day, or begins a later one.
    pub fn add(&mut self, now_ms: u64, more: Self) {
        let Self { day, tokens, steps, microdollars } = self.on(now_ms);
        *self = Self {
            day,
            tokens: tokens.saturating_add(more.tokens),
            steps: steps.saturating_add(more.steps),
            microdollars: microdollars.saturating_add(more.microdollars),
        };
    }

    /// What was used up on the day of this moment: a clock that goes back to an earlier day does
    /// not make that day new.
    pub fn on(self, now_ms: u64) -> Self {
        let day = day_of(now_ms);
        if day > self.day { Self { day, ..Self::default() } } else { self }
    }

    /// As the counters of a tenant's row.
    pub(crate) fn amounts(self) -> [u64; 3] {
        [self.tokens, self.steps, self.microdollars]
    }

    /// The sum of a tenant's rows of a day.
    pub(crate) fn sum<'a>(day: u64, rows: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut sum = Self { day, ..Self::default() };
        for row in rows {
            let counted = kelpie_runtime::counters(row);
            let count = |place: usize| counted.get(place).copied().unwrap_or(0);
            let (tokens, steps, microdollars) = (count(0), count(1), count(2));
            sum.add(begin_of(day), Self { day, tokens, steps, microdollars });
        }
        sum
    }
}

/// The day of a moment, since 1970.
pub(crate) fn day_of(now_ms: u64) -> u64 {
    now_ms / DAY_MS
}

/// When a day begins.
pub(crate) fn begin_of(day: u64) -> u64 {
    day.saturating_mul(DAY_MS)
}

/// The rows of a tenant and day.
pub(crate) fn rows(day: u64) -> Vec<Vec<u8>> {
    (0..ROWS).map(|row| entry(day, row)).collect()
}

/// The one of these rows that an agent adds to.
pub(crate) fn row_of(actor: &ActorId, day: u64) -> Vec<u8> {
    let hash = actor.key().bytes().fold(0_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte));
    entry(day, hash % ROWS)
}

fn entry(day: u64, row: u8) -> Vec<u8> {
    [&day.to_be_bytes()[..], &[row]].concat()
}

impl Budget {
    /// Whether it limits anything.
    pub fn limits(self) -> bool {
        self != Self::default()
    }

    /// Whether a model may be asked once more; else why not.
    ///
    /// ```
    /// use kelpie_agent::budget::{Budget, Spent, Whose};
    ///
    /// let budget = Budget { steps_per_day: Some(1), ..Budget::default() };
    /// assert_eq!(budget.allows(Whose::Agent, Spent::default(), 0), Ok(()));
    /// assert!(budget.allows(Whose::Agent, Spent { steps: 1, ..Spent::default() }, 0).is_err());
    /// ```
    ///
    /// # Errors
    /// Which limit was reached.
    pub fn allows(self, whose: Whose, spent: Spent, now_ms: u64) -> Result<(), String> {
        let spent = spent.on(now_ms);
        let limits = [
            (self.tokens_per_day, spent.tokens, "tokens"),
            (self.steps_per_day, spent.steps, "model calls"),
            (self.microdollars_per_day, spent.microdollars, "micro-dollars"),
        ];
        for (limit, used, what) in limits {
            if let Some(limit) = limit.filter(|limit| used >= *limit) {
                return Err(format!("{whose} has used {used} of {limit} {what} today (UTC)"));
            }
        }
        Ok(())
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
        let budget =
            Budget { tokens_per_day: Some(10), steps_per_day: Some(2), microdollars_per_day: Some(100) };
        let mut spent = Spent::default();
        let mut add = |now_ms, usage, cost| {
            spent.add(now_ms, Spent::one(now_ms, usage, cost));
            spent
        };
        let allows = |spent, now_ms| budget.allows(Whose::Agent, spent, now_ms);
        assert_eq!(allows(add(DAY_MS - 1, usage(3, 2), 0), DAY_MS - 1), Ok(()));
        let two = add(DAY_MS - 1, usage(1, 1), 99);
        assert!(allows(two, DAY_MS - 1).expect_err("two steps").contains("2 of 2 model calls"));
        assert_eq!(allows(two, DAY_MS), Ok(()), "another day");
        let much = add(DAY_MS, usage(9, 3), 0);
        assert!(allows(much, DAY_MS).expect_err("12 tokens").contains("12 of 10 tokens"));
        assert!(allows(much, 0).is_err(), "a clock that goes back gives nothing back");
        assert_eq!(Budget::default().allows(Whose::Agent, much, DAY_MS), Ok(()));
        let dear = add(2 * DAY_MS, usage(1, 1), 100);
        assert!(allows(dear, 2 * DAY_MS).expect_err("money").contains("100 of 100 micro-dollars"));
    }

    #[test]
    fn the_rows_of_a_tenant_and_day_add_up() {
        let row = |spent: Spent| spent.amounts().map(u64::to_le_bytes).concat();
        let rows = [row(Spent::one(0, usage(3, 2), 7)), Vec::new(), row(Spent::one(0, usage(1, 0), 0))];
        let sum = Spent::sum(1, rows.iter().map(Vec::as_slice));
        assert_eq!(sum, Spent { day: 1, tokens: 6, steps: 2, microdollars: 7 });
    }

    #[test]
    fn an_agent_adds_to_one_of_its_tenant_s_rows() {
        for key in ["agent-1", "agent-2"] {
            let actor = ActorId::new("t", "agent", key).expect("an id");
            assert!(rows(1).contains(&row_of(&actor, 1)) && !rows(0).contains(&row_of(&actor, 1)));
        }
    }
}
