//! One turn's work on its agent: what was read, what is to be written.

use std::collections::BTreeMap;

use kelpie_core::record;
use kelpie_core::run::StopReason;
use kelpie_memory::layout;
use kelpie_memory::recall::{Entry, Said, Speaker};
use kelpie_runtime::{HandlerError, Turn, TurnError};

use super::rows::{self, Conversation, Life, Progress};
use super::{Shared, code, tools};
use crate::outcome::{RunFailure, RunRecord};
use crate::provider::ToolSpec;
use crate::record::AgentRecord;
use crate::rules::{self, Called};
use crate::tool::builtin::BuiltIn;
use crate::tool::custom::CustomTool;

/// An agent on the desk of one turn.
pub(super) struct Desk<'a> {
    pub(super) turn: &'a mut Turn,
    pub(super) shared: &'a Shared,
    pub(super) agent: AgentRecord,
    /// Those of its tools that are source code.
    pub(super) custom: BTreeMap<String, CustomTool>,
    /// Searches of archives in this turn.
    pub(super) searches: usize,
    pub(super) progress: Progress,
    /// The conversation that is worked on.
    pub(super) talk: Conversation,
    /// Why the run that goes on has failed, once it is known.
    pub(super) failure: Option<RunFailure>,
    /// Why calls were decided against, by their ids.
    pub(super) reasons: BTreeMap<String, String>,
    /// As they were read: what has not changed is not written.
    before: (Progress, Conversation),
}

impl<'a> Desk<'a> {
    /// Reads the agent; refuses when there is none.
    pub(super) async fn open(turn: &'a mut Turn, shared: &'a Shared) -> Result<Self, HandlerError> {
        let agent = match rows::decoded(turn.get(rows::AGENT).await?)? {
            Some(Life::Alive(agent)) => *agent,
            Some(Life::Deleted { .. }) | None => {
                return Err(HandlerError::app(code::NOT_FOUND, "Agent not found"));
            }
        };
        let blocks = rows::blocks(turn).await?;
        let progress: Progress = rows::decoded(turn.get(rows::PROGRESS).await?)?.unwrap_or_default();
        let talk: Conversation = rows::decoded(turn.get(&rows::conversation(0)).await?)?.unwrap_or_default();
        let before = (progress.clone(), talk.clone());
        let custom = tools::among(turn, shared, &agent.tools).await?;
        let agent = AgentRecord { blocks, ..agent };
        let (failure, reasons, searches) = (None, BTreeMap::new(), 0);
        Ok(Self { turn, shared, agent, custom, searches, progress, talk, failure, reasons, before })
    }

    /// Puts another conversation on the desk; refuses when there is none of that number.
    pub(super) async fn go_to(&mut self, number: u64) -> Result<(), HandlerError> {
        if self.talk.number == number {
            return Ok(());
        }
        let found: Option<Conversation> = self.conversation(number).await?;
        let found =
            found.ok_or_else(|| HandlerError::app(code::NO_CONVERSATION, "Conversation not found"))?;
        self.save_talk();
        self.before.1 = found.clone();
        self.talk = found;
        Ok(())
    }

    /// A conversation that is not on the desk.
    pub(super) async fn conversation(&mut self, number: u64) -> Result<Option<Conversation>, TurnError> {
        let stored = rows::decoded(self.turn.get(&rows::conversation(number)).await?)?;
        Ok(stored.or_else(|| (number == 0).then(Conversation::default)))
    }

    fn save_talk(&mut self) {
        if self.talk != self.before.1 {
            self.turn.set(rows::conversation(self.talk.number), record::encode(&self.talk));
        }
    }

    /// When the conversation on the desk wakes up.
    pub(super) fn wake_talk_at(&mut self, at: Option<u64>) {
        match at {
            Some(at) => self.progress.wakes.insert(self.talk.number, at),
            None => self.progress.wakes.remove(&self.talk.number),
        };
    }

    /// Writes where the agent stands now.
    pub(super) fn close(mut self) {
        self.save_talk();
        if self.progress != self.before.0 {
            self.turn.set(rows::PROGRESS, record::encode(&self.progress));
        }
        // One entry for all conversations: the earliest.
        self.turn.wake_at(self.progress.wakes.values().min().copied());
    }

    /// Writes the agent's settings; its blocks stand in rows of their own.
    pub(super) fn save_agent(&mut self) {
        let blocks = std::mem::take(&mut self.agent.blocks);
        self.turn.set(rows::AGENT, record::encode(&Life::Alive(Box::new(self.agent.clone()))));
        self.agent.blocks = blocks;
    }

    /// Adds an entry at the end of the log.
    pub(super) fn append(&mut self, run_id: &str, step: u32, said: Said) {
        let position = self.reserve();
        self.write(position, run_id, step, said);
    }

    /// Keeps the next position of the log for an entry to come.
    pub(super) fn reserve(&mut self) -> u64 {
        let position = self.talk.log_next;
        self.talk.log_next += 1;
        position
    }

    /// Writes an entry at a position that was reserved for it.
    pub(super) fn write(&mut self, position: u64, run_id: &str, step: u32, said: Said) {
        let entry = Entry { run_id: run_id.to_owned(), step, date_ms: self.turn.now_ms(), said };
        self.turn.set(layout::log(position), record::encode(&entry));
    }

    /// The entry at a position.
    pub(super) async fn entry(&mut self, position: u64) -> Result<Option<Entry>, TurnError> {
        rows::decoded(self.turn.get(&layout::log(position)).await?)
    }

    /// A run's record.
    pub(super) async fn run(&mut self, number: u64) -> Result<Option<RunRecord>, TurnError> {
        rows::decoded(self.turn.get(&rows::run(number)).await?)
    }

    /// Writes a run's record.
    pub(super) fn save_run(&mut self, number: u64, run: &RunRecord) {
        self.turn.set(rows::run(number), record::encode(run));
    }

    /// The tools that the model gets to see, in the order of the agent's settings. One that is
    /// no longer on offer is left out.
    pub(super) fn tool_specs(&self) -> Vec<ToolSpec> {
        let client: Vec<&ToolSpec> =
            self.talk.current.iter().flat_map(|current| &current.client_tools).collect();
        let blocks = self.agent.blocks.iter().filter(|block| !block.read_only);
        let labels: Vec<&str> = blocks.map(|block| block.label.as_str()).collect();
        let spec = |name: &String| {
            if let Some(tool) = BuiltIn::from_name(name) {
                return Some(tool.spec_with(&labels));
            }
            // Whoever sent the message may carry out what is only source code here.
            let custom = self.custom.get(name).filter(|_| !client.iter().any(|tool| tool.name == *name));
            let outside = self.shared.outside.get(name).map(|tool| &tool.spec);
            outside.or(custom.map(|tool| &tool.spec)).cloned()
        };
        let own = self.agent.tools.iter().filter_map(spec);
        let called = self.called();
        let now = |spec: &ToolSpec| rules::allows(&self.agent.rules, &called, &spec.name).is_ok();
        own.chain(client.iter().copied().cloned()).filter(now).collect()
    }

    /// What the run that goes on has called so far.
    pub(super) fn called(&self) -> Called {
        self.talk.current.as_ref().map(|current| current.called.clone()).unwrap_or_default()
    }

    /// Says something to the model in the middle of a run.
    pub(super) fn tell(&mut self, run_id: &str, step: u32, text: String) {
        self.append(run_id, step, Said::Heard { by: Speaker::System, text, name: None, otid: None });
    }

    /// Why a run that ends for this reason has failed, if it has.
    pub(super) fn failure_for(&mut self, reason: StopReason) -> Option<RunFailure> {
        let known = self.failure.take();
        if !reason.failed() {
            return None;
        }
        let never = || RunFailure {
            code: "model.never_answered".to_owned(),
            message: "the process ended each time while the model was asked; given up".to_owned(),
        };
        Some(known.unwrap_or_else(never))
    }
}
