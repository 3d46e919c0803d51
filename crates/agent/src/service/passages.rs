//! Archival memory: keep, list, find, delete.

use kelpie_core::call::{CallKey, IdempotencyKey};
use kelpie_core::record;
use kelpie_memory::archival::{Passage, PassageQuery};
use kelpie_memory::layout;
use kelpie_memory::search::ROWS_MAX;
use kelpie_runtime::{RecordRange, View};

use super::log::Walk;
use super::{Agents, failure};
use crate::actor::{InsertPassage, SetTool, operation};
use crate::error::{AgentError, Thing};
use crate::provider::ToolCall;
use crate::query::{Page, Scope};
use crate::record::AgentRecord;
use crate::tool::runner::{Invocation, ToolOutcome};

impl Agents {
    /// Keeps a passage.
    pub async fn insert_passage(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        text: String,
        tags: Vec<String>,
        created_ms: Option<u64>,
    ) -> Result<Passage, AgentError> {
        let new = InsertPassage { text, tags, created_ms };
        self.call(scope, agent, key, operation::INSERT_PASSAGE, &new).await
    }

    /// Deletes a passage for good.
    pub async fn delete_passage(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        id: &str,
    ) -> Result<(), AgentError> {
        self.call(scope, agent, key, operation::DELETE_PASSAGE, &id.to_owned()).await
    }

    /// Archival passages, page by page.
    pub async fn passages(
        &self,
        scope: &Scope,
        agent: &str,
        page: &Page,
    ) -> Result<Vec<Passage>, AgentError> {
        let view = self.view(scope, agent).await?;
        let walk = Walk::of_ids("passage", Thing::Passage, agent, page)?;
        Ok(walk.in_order(passages_in(&view, walk.rows(layout::PASSAGES)).await?))
    }

    /// The passages that fit a question best, best first. It looks at the newest ones when there
    /// are more than a search can afford.
    pub async fn find_passages(
        &self,
        scope: &Scope,
        agent: &str,
        query: &PassageQuery,
    ) -> Result<Vec<Passage>, AgentError> {
        let view = self.view(scope, agent).await?;
        let range = RecordRange::prefix(layout::PASSAGES).reversed().limit(ROWS_MAX);
        Ok(query.best(passages_in(&view, range).await?))
    }

    /// Gives an agent a tool or takes it away, or says whether its calls have to be approved.
    pub async fn set_tool(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        name: &str,
        attached: Option<bool>,
        requires_approval: Option<bool>,
    ) -> Result<AgentRecord, AgentError> {
        let set = SetTool { name: name.to_owned(), attached, requires_approval };
        self.call(scope, agent, key, operation::SET_TOOL, &set).await
    }
}

impl Agents {
    /// Carries out a tool of an agent for a person or program. One that is not the agent's, or
    /// whose arguments do not fit, is not called: the outcome says so.
    pub async fn run_tool(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        name: &str,
        arguments: String,
    ) -> Result<ToolOutcome, AgentError> {
        let record = self.get(scope, agent).await?;
        let Some(tool) = self.shared.outside.get(name).filter(|_| record.tools.iter().any(|own| own == name))
        else {
            let call = ToolCall { id: "by-hand".to_owned(), name: name.to_owned(), arguments };
            return self.call(scope, agent, key, operation::RUN_TOOL, &call).await;
        };
        let parsed: serde_json::Value = match serde_json::from_str(&arguments) {
            Ok(parsed) => parsed,
            Err(error) => return Ok(ToolOutcome::failed(error.to_string())),
        };
        if let Err(problem) = tool.schema.check(&parsed) {
            return Ok(ToolOutcome::failed(format!("the arguments do not fit: {problem}")));
        }
        let once = || format!("{:032x}", self.runtime.env().random_u128());
        let idempotency_key = match key {
            Some(key) => {
                CallKey::new(&scope.caller, key).0.iter().map(|byte| format!("{byte:02x}")).collect()
            }
            None => once(),
        };
        let invocation = Invocation {
            tool: name.to_owned(),
            arguments,
            agent_id: record.id,
            run_id: String::new(),
            call_id: "by-hand".to_owned(),
            idempotency_key,
        };
        Ok(self.shared.runner.run(invocation).await.bounded())
    }
}

async fn passages_in(view: &View, range: RecordRange) -> Result<Vec<Passage>, AgentError> {
    let rows = view.range(range).await.map_err(|error| failure::read(&error))?;
    let passages: Result<Vec<Passage>, _> = rows.iter().map(|(_, row)| record::decode(row)).collect();
    passages.map_err(|error| failure::damaged(&error))
}
