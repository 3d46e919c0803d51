//! Tools: what is on offer, tools of source code, and an agent's tools.

use kelpie_core::call::{CallKey, IdempotencyKey};
use kelpie_core::record;
use kelpie_runtime::RecordRange;

use super::{Agents, failure, not_found};
use crate::actor::{ACTOR_TYPE, KeepTool, SetTool, operation, rows};
use crate::error::{AgentError, Thing};
use crate::provider::ToolCall;
use crate::query::{PAGE_MAX, Scope};
use crate::record::AgentRecord;
use crate::tool::builtin::BuiltIn;
use crate::tool::custom::{CustomTool, NewTool};
use crate::tool::runner::{Invocation, ToolOutcome};
use crate::tool::{self, ToolInfo, ToolKind};

impl Agents {
    /// The tools on offer: built-in ones, those outside, and the tenant's own of source code,
    /// oldest first.
    pub async fn tools(&self, scope: &Scope) -> Result<Vec<ToolInfo>, AgentError> {
        let built_in = BuiltIn::ALL.into_iter().map(|tool| ToolInfo::new(tool.spec(), ToolKind::BuiltIn));
        let outside =
            self.shared.outside.values().map(|tool| ToolInfo::new(tool.spec.clone(), ToolKind::Outside));
        let range = RecordRange::prefix(b"").limit(PAGE_MAX);
        let rows = self.runtime.index(&scope.tenant, ACTOR_TYPE, rows::INDEX_TOOLS, range).await;
        let rows = rows.map_err(|error| failure::index(&error))?;
        let custom: Result<Vec<CustomTool>, _> = rows.iter().map(|(_, row)| record::decode(row)).collect();
        let mut custom = custom.map_err(|error| failure::damaged(&error))?;
        custom.retain(|tool| !self.shared.outside.contains_key(&tool.spec.name));
        custom.sort_by(|one, other| {
            (one.created_ms, &one.spec.name).cmp(&(other.created_ms, &other.spec.name))
        });
        Ok(built_in.chain(outside).chain(custom.into_iter().map(ToolInfo::custom)).collect())
    }

    /// Keeps a tool of source code. One of the same name is replaced, or the new one refused.
    pub async fn keep_tool(
        &self,
        scope: &Scope,
        key: Option<&IdempotencyKey>,
        new: NewTool,
        replaces: bool,
    ) -> Result<ToolInfo, AgentError> {
        let checked = CustomTool::new(new.clone(), 0);
        let checked = checked
            .map_err(|error| AgentError::Invalid { field: error.field.to_owned(), message: error.problem })?;
        let actor = Self::actor(scope, &tool::id_of(&checked.spec.name))?;
        let keep = KeepTool { tool: new, replaces };
        let tool = self.call_actor(scope, actor, key, operation::KEEP_TOOL, &keep).await?;
        Ok(ToolInfo::custom(tool))
    }

    /// Changes a tool of source code, for all agents that have it.
    pub async fn change_tool(
        &self,
        scope: &Scope,
        id: &str,
        key: Option<&IdempotencyKey>,
        change: NewTool,
    ) -> Result<ToolInfo, AgentError> {
        self.is_custom(scope, id).await?;
        let actor = Self::actor(scope, id)?;
        let tool = self.call_actor(scope, actor, key, operation::CHANGE_TOOL, &change).await?;
        Ok(ToolInfo::custom(tool))
    }

    /// Deletes a tool of source code: all agents that have it lose it.
    pub async fn delete_tool(
        &self,
        scope: &Scope,
        id: &str,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), AgentError> {
        if key.is_none() {
            self.is_custom(scope, id).await?;
        }
        let actor = Self::actor(scope, id).map_err(|_| not_found(Thing::Tool, id))?;
        self.call_actor(scope, actor, key, operation::DELETE_TOOL, &()).await
    }

    /// Refuses what is no tool of source code, so that it gets no records.
    async fn is_custom(&self, scope: &Scope, id: &str) -> Result<(), AgentError> {
        let tools = self.tools(scope).await?;
        let tool = tools.iter().find(|tool| tool.id == id).ok_or_else(|| not_found(Thing::Tool, id))?;
        match tool.kind {
            ToolKind::Custom => Ok(()),
            ToolKind::BuiltIn | ToolKind::Outside => Err(AgentError::Invalid {
                field: "tool_id".to_owned(),
                message: format!("{} comes with the server and stays as it is", tool.spec.name),
            }),
        }
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
