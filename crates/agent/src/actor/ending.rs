//! Whether a run ends although the model could be asked, and what its answers cost.

use kelpie_core::run::StopReason;
use kelpie_runtime::TurnError;

use super::desk::Desk;
use super::rows;
use crate::budget::{self, Spending, Spent, Whose};
use crate::outcome::RunFailure;
use crate::provider::Usage;
use crate::query::Overrides;
use crate::record::{AgentRecord, ModelChoice};

/// Why a run failed that would have cost more than its agent may.
const BUDGET_EXCEEDED: &str = "budget_exceeded";

/// Why a run failed whose cost nobody can tell, although it matters.
const PRICE_UNKNOWN: &str = "price_unknown";

/// What to do about a budget of money and a model without a price.
pub(super) fn no_price(whose: Whose, model: &str) -> String {
    format!(
        "{whose} has a budget of money, and nobody has said what the model {model:?} costs: give it a line in \
         the prices file (`kelpie serve --prices FILE`), or take microdollars_per_day out of the budget"
    )
}

impl Desk<'_> {
    /// Why the run ends although the model could be asked: a tool has ended it, or there is no
    /// budget left.
    pub(super) async fn ends_instead(
        &mut self,
        run_id: &str,
        step: u32,
        attempt: u32,
    ) -> Result<Option<StopReason>, TurnError> {
        let onward = self.judge().ended_by_tool(&self.called());
        if onward.then.is_some() {
            return Ok(onward.then);
        }
        if let Some(told) = onward.told.filter(|_| attempt == 1) {
            self.tell(run_id, step, told);
        }
        let model = self.talking_agent().model.handle;
        Ok(self.over_budget(&model).await?.then_some(StopReason::Error))
    }

    /// Whether this model may not be asked: the agent or its tenant has used up what it may today,
    /// or nobody knows whether it has. The run's failure says so.
    pub(super) async fn over_budget(&mut self, model: &str) -> Result<bool, TurnError> {
        if kelpie_core::mutant!("budget_not_checked") {
            return Ok(false);
        }
        let refused = self.budget_refuses(model).await?;
        let over = refused.is_some();
        self.failure = refused.or(self.failure.take());
        Ok(over)
    }

    async fn budget_refuses(&mut self, model: &str) -> Result<Option<RunFailure>, TurnError> {
        let now_ms = self.turn.now_ms();
        let shared = self.shared;
        let Spending { prices, tenant } = &shared.spending;
        for (whose, budget) in [(Whose::Agent, self.agent.budget), (Whose::Tenant, *tenant)] {
            if budget.microdollars_per_day.is_some() && prices.of(model).is_none() {
                let message = no_price(whose, model);
                return Ok(Some(RunFailure { code: PRICE_UNKNOWN.to_owned(), message }));
            }
            let spent = match whose {
                Whose::Agent => self.progress.spent,
                Whose::Tenant if budget.limits() => {
                    let day = budget::day_of(now_ms);
                    let rows = self.turn.index_glance(rows::INDEX_SPENT, &budget::rows(day)).await?;
                    Spent::sum(day, rows.iter().flatten().map(|row| &row[..]))
                }
                Whose::Tenant => continue,
            };
            if let Err(message) = budget.allows(whose, spent, now_ms) {
                return Ok(Some(RunFailure { code: BUDGET_EXCEEDED.to_owned(), message }));
            }
        }
        Ok(None)
    }

    /// Counts an answer for the agent and for its tenant, in the commit that records it.
    pub(super) fn spend(&mut self, usage: Usage, microdollars: Option<u64>) {
        let now_ms = self.turn.now_ms();
        let spent = Spent::one(now_ms, usage, microdollars.unwrap_or(0));
        self.progress.spent.add(now_ms, spent);
        if kelpie_core::mutant!("budget_counted_when_asked") {
            return;
        }
        self.spend_for_tenant(spent);
    }

    /// The tenant's row is of the agent's day: a clock that goes back moves neither.
    pub(super) fn spend_for_tenant(&mut self, spent: Spent) {
        let row = budget::row_of(self.turn.actor(), self.progress.spent.day);
        self.turn.index_add(rows::INDEX_SPENT, &row, &spent.amounts());
    }

    /// The agent as this conversation has it, with a model of its own, and as this run has it.
    pub(super) fn talking_agent(&self) -> AgentRecord {
        let mut agent = self.agent.clone();
        if let Some(about) = &self.talk.about {
            let ModelChoice { handle, context_window, .. } = &mut agent.model;
            if let Some(own) = &about.model {
                own.clone_into(handle);
            }
            *context_window = about.context_window.unwrap_or(*context_window);
        }
        let Some(Overrides { model, system }) = self.talk.current.as_ref().map(|current| &current.overrides)
        else {
            return agent;
        };
        if let Some(handle) = model {
            let window = self.shared.models.context_window(handle);
            agent.model.context_window = window.unwrap_or(agent.model.context_window);
            handle.clone_into(&mut agent.model.handle);
        }
        if let Some(system) = system {
            system.clone_into(&mut agent.system);
        }
        agent
    }
}
