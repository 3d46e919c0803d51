//! What an agent is: its settings, as they are created, changed and shown.

use std::collections::{BTreeMap, BTreeSet};

use kelpie_memory::block::{Block, NewBlock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::budget::Budget;
use crate::format::ResponseFormat;
use crate::rules::ToolRule;
use crate::tool::builtin::BuiltIn;

/// Steps of one run when the agent's creator gives no limit.
pub const MAX_STEPS_DEFAULT: u32 = 50;
/// The highest limit of steps.
pub const MAX_STEPS_MAX: u32 = 1_000;
/// Tokens of a prompt when nobody says how much the model can read.
pub const CONTEXT_WINDOW_DEFAULT: u32 = 32_000;

/// How an agent talks and when its run ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentType {
    /// Talks by calling `send_message`, keeps its memory through tools.
    #[default]
    #[serde(rename = "memgpt_agent")]
    Memgpt,
    /// As [`AgentType::Memgpt`], with the newer tools for its memory.
    #[serde(rename = "memgpt_v2_agent")]
    MemgptV2,
    /// Talks in plain text and keeps its memory through tools; done when it calls none.
    #[serde(rename = "letta_v1_agent")]
    LettaV1,
    /// Talks in plain text; done when it calls no tool. It has the tools that it is given.
    #[serde(rename = "react_agent")]
    React,
}

impl AgentType {
    /// All of them, for messages about unknown ones.
    pub const ALL: [Self; 4] = [Self::Memgpt, Self::MemgptV2, Self::LettaV1, Self::React];

    /// The word for it on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memgpt => "memgpt_agent",
            Self::MemgptV2 => "memgpt_v2_agent",
            Self::LettaV1 => "letta_v1_agent",
            Self::React => "react_agent",
        }
    }

    /// The built-in tools that an agent of this type gets.
    pub fn base_tools(self) -> Vec<BuiltIn> {
        const SEARCHES: [BuiltIn; 3] =
            [BuiltIn::ConversationSearch, BuiltIn::ArchivalMemoryInsert, BuiltIn::ArchivalMemorySearch];
        const EDITS: [BuiltIn; 2] = [BuiltIn::CoreMemoryAppend, BuiltIn::CoreMemoryReplace];
        const EDITS_V2: [BuiltIn; 3] =
            [BuiltIn::MemoryInsert, BuiltIn::MemoryReplace, BuiltIn::MemoryRethink];
        match self {
            Self::Memgpt => {
                [&[BuiltIn::SendMessage], &SEARCHES[..], &EDITS, &[BuiltIn::PauseHeartbeats]].concat()
            }
            Self::MemgptV2 => [&[BuiltIn::SendMessage], &SEARCHES[..], &EDITS_V2].concat(),
            Self::LettaV1 => [&SEARCHES[..], &EDITS_V2].concat(),
            Self::React => Vec::new(),
        }
    }

    /// Whether it is done once it has called `send_message`.
    pub fn talks_by_tool(self) -> bool {
        match self {
            Self::Memgpt | Self::MemgptV2 => true,
            Self::LettaV1 | Self::React => false,
        }
    }

    /// The type of that name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }
}

/// Which model an agent asks, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelChoice {
    /// `provider/name`.
    pub handle: String,
    /// Tokens that prompt and answer may have together.
    pub context_window: u32,
    /// Tokens of the longest answer.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// How freely the model chooses words.
    #[serde(default)]
    pub temperature: Option<f32>,
}

/// What an agent was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkOrigin {
    /// The other agent.
    pub agent_id: String,
    /// The run whose end its messages end with; all there were if absent.
    #[serde(default)]
    pub run_id: Option<String>,
    /// The name that was asked for.
    #[serde(default)]
    pub name: Option<String>,
}

/// An agent as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// `agent-…`.
    pub id: String,
    /// Its name, not unique.
    pub name: String,
    /// How it talks.
    #[serde(default)]
    pub agent_type: AgentType,
    /// The instructions before its memory.
    pub system: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Which model it asks.
    pub model: ModelChoice,
    /// The handle of its embedding model, kept for clients.
    #[serde(default)]
    pub embedding: Option<String>,
    /// Core memory, in the prompt's order.
    #[serde(default)]
    pub blocks: Vec<Block>,
    /// The ids of the archives that it searches beside its own passages.
    #[serde(default)]
    pub archives: Vec<String>,
    /// The names of the tools that it may call, in the prompt's order.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Of these, somebody has to approve each call.
    #[serde(default)]
    pub approvals: BTreeSet<String>,
    /// Which tool may be called when, and when a run may end.
    #[serde(default)]
    pub rules: Vec<ToolRule>,
    /// What it may use up in a day.
    #[serde(default)]
    pub budget: Budget,
    /// What it can be found by, sorted.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What its creator keeps with it.
    #[serde(default)]
    pub metadata: BTreeMap<String, Value>,
    /// Its time zone, kept for clients.
    #[serde(default)]
    pub timezone: Option<String>,
    /// Steps that one run may take.
    pub max_steps: u32,
    /// Fields of the wire format that mean nothing to the agent itself and come back as given.
    #[serde(default)]
    pub extra: BTreeMap<String, Value>,
    /// What it was made from, if it is a fork.
    #[serde(default)]
    pub forked_from: Option<ForkOrigin>,
    /// When it was created, in milliseconds of Unix time.
    pub created_ms: u64,
    /// When it was last changed.
    pub updated_ms: u64,
}

impl AgentRecord {
    /// What the text of its answers has to look like, if anybody wants something.
    ///
    /// # Errors
    /// What is wrong with what they want.
    pub fn response_format(&self) -> Result<Option<ResponseFormat>, String> {
        self.extra.get("response_format").map(ResponseFormat::read).transpose()
    }
}

/// An agent to be made; what is absent gets a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateAgent {
    /// Its name; a made-up one when absent.
    pub name: Option<String>,
    /// How it talks.
    pub agent_type: AgentType,
    /// The instructions before its memory.
    pub system: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The handle of its model; the first one on offer when absent.
    pub model: Option<String>,
    /// The handle of its embedding model.
    pub embedding: Option<String>,
    /// Tokens that prompt and answer may have together; what the model says when absent.
    pub context_window: Option<u32>,
    /// Tokens of the longest answer.
    pub max_tokens: Option<u32>,
    /// How freely the model chooses words.
    pub temperature: Option<f32>,
    /// Core memory.
    pub blocks: Vec<NewBlock>,
    /// The ids of blocks that it shares with others.
    pub block_ids: Vec<String>,
    /// Tools beside the built-in ones, by name.
    pub tools: Vec<String>,
    /// Whether it gets the built-in tools of its type.
    pub include_base_tools: bool,
    /// Tools of which somebody has to approve each call.
    pub approvals: BTreeSet<String>,
    /// Which tool may be called when, and when a run may end.
    pub rules: Vec<ToolRule>,
    /// What it may use up in a day.
    pub budget: Budget,
    /// What it can be found by.
    pub tags: Vec<String>,
    /// What its creator keeps with it.
    pub metadata: BTreeMap<String, Value>,
    /// Its time zone.
    pub timezone: Option<String>,
    /// Steps that one run may take.
    pub max_steps: Option<u32>,
    /// Other fields of the wire format, kept and given back.
    pub extra: BTreeMap<String, Value>,
}

impl Default for CreateAgent {
    fn default() -> Self {
        Self {
            name: None,
            agent_type: AgentType::default(),
            system: None,
            description: None,
            model: None,
            embedding: None,
            context_window: None,
            max_tokens: None,
            temperature: None,
            blocks: Vec::new(),
            block_ids: Vec::new(),
            tools: Vec::new(),
            include_base_tools: true,
            approvals: BTreeSet::new(),
            rules: Vec::new(),
            budget: Budget::default(),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            timezone: None,
            max_steps: None,
            extra: BTreeMap::new(),
        }
    }
}

/// What changes in an agent; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateAgent {
    /// The new name.
    pub name: Option<String>,
    /// The new instructions.
    pub system: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The handle of another model.
    pub model: Option<String>,
    /// The handle of another embedding model.
    pub embedding: Option<String>,
    /// Tokens that prompt and answer may have together.
    pub context_window: Option<u32>,
    /// Tokens of the longest answer.
    pub max_tokens: Option<u32>,
    /// How freely the model chooses words.
    pub temperature: Option<f32>,
    /// All of its tools, built-in ones included.
    pub tools: Option<Vec<String>>,
    /// All tools of which somebody has to approve each call.
    pub approvals: Option<BTreeSet<String>>,
    /// All rules about its tools.
    pub rules: Option<Vec<ToolRule>>,
    /// What it may use up in a day.
    pub budget: Option<Budget>,
    /// All of its tags.
    pub tags: Option<Vec<String>>,
    /// All of its metadata.
    pub metadata: Option<BTreeMap<String, Value>>,
    /// Its time zone.
    pub timezone: Option<String>,
    /// Steps that one run may take.
    pub max_steps: Option<u32>,
    /// Other fields of the wire format: those named are replaced.
    pub extra: BTreeMap<String, Value>,
}
