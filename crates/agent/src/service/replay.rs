//! What was recorded of a run, and the run once more without its model.

use std::collections::BTreeMap;

use kelpie_core::record;
use kelpie_memory::recall::{Entry, Said};
use kelpie_runtime::{RecordRange, View};

use super::log::run_in;
use super::{Agents, failure};
use crate::actor::judge::Judge;
use crate::actor::{ACTOR_TYPE, rows};
use crate::error::AgentError;
use crate::message::Message;
use crate::outcome::RunRecord;
use crate::provider::ToolSpec;
use crate::query::Scope;
use crate::record::AgentRecord;
use crate::replay::{self, Recording, Replay};
use crate::show;
use crate::tool::builtin::BuiltIn;
use crate::tool::custom::CustomTool;

/// Tools of source code that are looked at.
const TOOLS_MAX: usize = 1_000;

/// All that was recorded of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecording {
    /// The run.
    pub run: RunRecord,
    /// What set it off.
    pub heard: Vec<Message>,
    /// Its steps, from 1: the model's answer and what came of its calls.
    pub steps: BTreeMap<u32, Vec<Message>>,
}

impl Agents {
    /// All that was recorded of a run, step by step.
    pub async fn recording(
        &self,
        scope: &Scope,
        agent: &str,
        run_id: &str,
    ) -> Result<RunRecording, AgentError> {
        let view = self.view(scope, agent).await?;
        let run = run_in(&view, agent, run_id).await?;
        let (mut heard, mut steps) = (Vec::new(), BTreeMap::<u32, Vec<Message>>::new());
        for (position, entry) in entries(&view, &run).await? {
            let shown = show::messages(agent, position, &entry, true);
            let messages = shown.into_iter().map(|(_, message)| message);
            match entry.step {
                0 => heard.extend(messages),
                step => steps.entry(step).or_default().extend(messages),
            }
        }
        Ok(RunRecording { run, heard, steps })
    }

    /// A recorded run once more, without its model, by the agent's settings of now. Writes nothing.
    pub async fn replay(&self, scope: &Scope, agent: &str, run_id: &str) -> Result<Replay, AgentError> {
        let view = self.view(scope, agent).await?;
        let run = run_in(&view, agent, run_id).await?;
        let mut found = entries(&view, &run).await?;
        // What a decision brought, or the end of a pause, goes on where an earlier run stood still.
        let mut earliest = run.clone();
        while earliest.continues.is_some()
            || matches!(found.first(), Some((_, Entry { said: Said::Decided { .. }, .. })))
        {
            let Some(first) = earliest.first else { break };
            let Some(before) = before(&view, &run, first).await? else { break };
            let mut earlier = entries(&view, &before).await?;
            earlier.append(&mut found);
            (found, earliest) = (earlier, before);
        }
        let entries: Vec<Entry> = found.into_iter().map(|(_, entry)| entry).collect();
        let agent = self.get(scope, agent).await?;
        let custom = self.custom_of(scope, &agent).await?;
        let outside = &self.shared.outside;
        let client = self.client_tools(&agent, &entries);
        let judge = Judge { agent: &agent, outside, custom: &custom, client: &client };
        let steps_max = run.max_steps.unwrap_or(agent.max_steps);
        Ok(replay::replay(judge, &Recording { run: &run, entries: &entries, steps_max }))
    }

    /// An agent's tools of source code.
    async fn custom_of(
        &self,
        scope: &Scope,
        agent: &AgentRecord,
    ) -> Result<BTreeMap<String, CustomTool>, AgentError> {
        let range = RecordRange::prefix(b"").limit(TOOLS_MAX);
        let rows = self.runtime.index(&scope.tenant, ACTOR_TYPE, rows::INDEX_TOOLS, range).await;
        let rows = rows.map_err(|error| failure::index(&error))?;
        let tools: Result<Vec<CustomTool>, _> = rows.iter().map(|(_, row)| record::decode(row)).collect();
        let tools = tools.map_err(|error| failure::damaged(&error))?.into_iter();
        let named = tools.map(|tool| (tool.spec.name.clone(), tool));
        Ok(named.filter(|(name, _)| agent.tools.contains(name)).collect())
    }

    /// The tools that whoever sent the message carried out: their calls waited, and the server has
    /// nothing of that name.
    fn client_tools(&self, agent: &AgentRecord, entries: &[Entry]) -> Vec<ToolSpec> {
        let own = |name: &String| {
            agent.tools.contains(name)
                && (BuiltIn::from_name(name).is_some() || self.shared.outside.contains_key(name))
        };
        let calls = entries.iter().filter_map(|entry| match &entry.said {
            Said::Answer { calls, .. } => Some(calls),
            Said::Heard { .. } | Said::Result { .. } | Said::Decided { .. } | Said::Summary { .. } => None,
        });
        let asked = calls.flatten().filter(|made| made.asks && !own(&made.name));
        let spec = |name: &String| ToolSpec {
            name: name.clone(),
            description: String::new(),
            parameters: serde_json::Value::Null,
        };
        asked.map(|made| spec(&made.name)).collect()
    }
}

/// The entries of a run, oldest first.
async fn entries(view: &View, run: &RunRecord) -> Result<Vec<(u64, Entry)>, AgentError> {
    let Some(first) = run.first else { return Ok(Vec::new()) };
    let rows = view.range(rows::log_range(first, run.end.unwrap_or(u64::MAX))).await;
    let mut entries = rows.and_then(rows::entries).map_err(|error| failure::read(&error))?;
    entries.retain(|(_, entry)| entry.run_id == run.id);
    Ok(entries)
}

/// The run of the same conversation whose entries end at this position.
async fn before(view: &View, run: &RunRecord, position: u64) -> Result<Option<RunRecord>, AgentError> {
    let Some(last) = position.checked_sub(1) else { return Ok(None) };
    let rows = view.range(rows::log_range(last, position)).await;
    let entries = rows.and_then(rows::entries).map_err(|error| failure::read(&error))?;
    match entries.first() {
        Some((_, entry)) => run_in(view, &run.agent_id, &entry.run_id).await.map(Some),
        None => Ok(None),
    }
}
