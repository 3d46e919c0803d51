//! Messages that come later, in the hands of people and programs.

use kelpie_core::call::IdempotencyKey;

use super::{Agents, failure, not_found};
use crate::actor::{operation, schedule};
use crate::error::{AgentError, Thing};
use crate::query::Scope;
use crate::schedule::{NewSchedule, ScheduledMessage};

impl Agents {
    /// What is scheduled for an agent, what comes next first.
    pub async fn schedules(&self, scope: &Scope, agent: &str) -> Result<Vec<ScheduledMessage>, AgentError> {
        let view = self.view(scope, agent).await?;
        schedule::viewed(&view).await.map_err(|error| failure::read(&error))
    }

    /// One schedule.
    pub async fn schedule(
        &self,
        scope: &Scope,
        agent: &str,
        id: &str,
    ) -> Result<ScheduledMessage, AgentError> {
        let all = self.schedules(scope, agent).await?;
        all.into_iter().find(|kept| kept.id == id).ok_or_else(|| not_found(Thing::Schedule, id))
    }

    /// Has messages come to an agent later.
    pub async fn add_schedule(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        new: NewSchedule,
    ) -> Result<ScheduledMessage, AgentError> {
        self.call(scope, agent, key, operation::SCHEDULE, &new).await
    }

    /// Takes a schedule back: a message that has not come does not come any more.
    pub async fn cancel_schedule(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        id: &str,
    ) -> Result<(), AgentError> {
        self.call(scope, agent, key, operation::CANCEL_SCHEDULE, &id.to_owned()).await
    }
}
