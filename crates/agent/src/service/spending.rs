//! What agents and tenants have used up today, and what they may.

use super::{Agents, failure};
use crate::actor::ACTOR_TYPE;
use crate::actor::rows::{self, Progress};
use crate::budget::{self, Budget, Spent};
use crate::error::AgentError;
use crate::query::Scope;
use kelpie_runtime::RecordRange;

/// What was used up today (UTC), and what may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedToday {
    /// When the day began, in milliseconds of Unix time.
    pub since_ms: u64,
    /// What was used up.
    pub spent: Spent,
    /// What may be.
    pub budget: Budget,
}

impl Agents {
    /// What an agent has used up today. Its clock is the node's: a day that one node has begun
    /// is not taken back by another.
    pub async fn used_by_agent(&self, scope: &Scope, agent: &str) -> Result<UsedToday, AgentError> {
        let budget = self.get(scope, agent).await?.budget;
        let view = self.view(scope, agent).await?;
        let row = view.get(rows::PROGRESS).await.map_err(|error| failure::read(&error))?;
        let progress: Option<Progress> = rows::decoded(row).map_err(|error| failure::read(&error))?;
        let now_ms = self.runtime.env().wall_ms();
        let spent = progress.map_or_else(Spent::default, |progress| progress.spent).on(now_ms);
        Ok(UsedToday { since_ms: budget::begin_of(spent.day), spent, budget })
    }

    /// What all agents of the tenant have used up today, deleted ones included.
    pub async fn used_by_tenant(&self, scope: &Scope) -> Result<UsedToday, AgentError> {
        let day = budget::day_of(self.runtime.env().wall_ms());
        let range = RecordRange::prefix(&day.to_be_bytes());
        let found = self.runtime.index(&scope.tenant, ACTOR_TYPE, rows::INDEX_SPENT, range).await;
        let found = found.map_err(|error| failure::index(&error))?;
        let spent = Spent::sum(day, found.iter().map(|(_, row)| &row[..]));
        Ok(UsedToday { since_ms: budget::begin_of(day), spent, budget: self.shared.spending.tenant })
    }
}
