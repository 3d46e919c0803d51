//! Agents, blocks and tools: between the wire and the domain.
//!
//! Letta knows some forty fields of an agent. Those that this server acts upon are fields of
//! the domain; some are kept and given back, because clients store things in them; those that
//! would change what the agent does are refused when they are set, because ignoring them would
//! be a lie; the rest is ignored.

use std::collections::{BTreeMap, BTreeSet};

use kelpie_agent::budget::Budget;
use kelpie_agent::provider::ToolSpec;
use kelpie_agent::record::{self, AgentRecord, AgentType};
use kelpie_agent::rules::ToolRule;
use kelpie_agent::tool::custom::NewTool;
use kelpie_agent::tool::{ToolInfo, ToolKind};
use kelpie_api::agent::{AgentState, CreateAgent, Memory, ModelChoice, ModelSettings, UpdateAgent};
use kelpie_api::block::{self, CreateBlock, UpdateBlock};
use kelpie_api::timestamp::Timestamp;
use kelpie_api::tool::{KeepTool, Tool};
use kelpie_memory::block::{Block, BlockChange, NewBlock};
use serde_json::{Map, Value};

use crate::error::HttpError;
use crate::translate::model;

/// Kept as given and shown again.
const KEPT: [&str; 7] = [
    "hidden",
    "project_id",
    "template_id",
    "base_template_id",
    "embedding_config",
    "compaction_settings",
    "response_format",
];

/// The same, of a block.
const BLOCK_KEPT: [&str; 8] = [
    "metadata",
    "tags",
    "hidden",
    "is_template",
    "template_name",
    "template_id",
    "project_id",
    "preserve_on_migration",
];

/// The same, of a tool.
const TOOL_KEPT: [&str; 6] = [
    "metadata_",
    "default_requires_approval",
    "enable_parallel_execution",
    "pip_requirements",
    "npm_requirements",
    "return_char_limit",
];

/// Would change what the agent does, and this build does not have it.
const REFUSED: [(&str, &str); 11] = [
    ("secrets", "secrets"),
    ("tool_exec_environment_variables", "secrets"),
    ("folder_ids", "folders"),
    ("source_ids", "folders"),
    ("identity_ids", "identities"),
    ("enable_sleeptime", "sleep-time agents"),
    ("message_buffer_autoclear", "agents that forget their messages"),
    ("from_template", "templates"),
    ("initial_message_sequence", "an initial conversation"),
    ("memory_variables", "variables in memory"),
    ("message_ids", "replacing the messages in context"),
];

/// An agent to create.
pub(crate) fn create(wire: CreateAgent, tools: &[ToolInfo]) -> Result<record::CreateAgent, HttpError> {
    let mut rest = wire.rest;
    let (approvals, rules) = tool_rules(&mut rest)?.unwrap_or_default();
    let (budget, max_steps) = (budget(&mut rest)?.unwrap_or_default(), max_steps(&mut rest)?);
    let block_ids = block_ids(&mut rest)?;
    let extra = extra(rest, wire.model_settings.as_ref())?;
    let settings = wire.model_settings.unwrap_or_default();
    let mut names = wire.tools.unwrap_or_default();
    names.extend(names_of(wire.tool_ids.unwrap_or_default(), tools)?);
    let blocks = wire.memory_blocks.unwrap_or_default();
    let blocks = blocks.into_iter().enumerate().map(|(place, block)| new_block(place, block));
    Ok(record::CreateAgent {
        name: wire.name,
        agent_type: wire.agent_type.map(|word| agent_type(&word)).transpose()?.unwrap_or_default(),
        system: wire.system,
        description: wire.description,
        model: wire.model.or_else(|| handle(wire.llm_config)),
        embedding: wire.embedding,
        context_window: wire.context_window_limit,
        max_tokens: wire.max_tokens.or(settings.max_output_tokens),
        temperature: temperature(&settings),
        blocks: blocks.collect::<Result<_, _>>()?,
        block_ids,
        tools: names,
        include_base_tools: wire.include_base_tools.unwrap_or(true),
        approvals,
        rules,
        budget,
        tags: wire.tags.unwrap_or_default(),
        metadata: wire.metadata.unwrap_or_default().into_iter().collect(),
        timezone: wire.timezone,
        max_steps,
        extra,
    })
}

/// A change of an agent.
pub(crate) fn update(wire: UpdateAgent, tools: &[ToolInfo]) -> Result<record::UpdateAgent, HttpError> {
    let mut rest = wire.rest;
    if rest.remove("block_ids").is_some_and(|ids| !ids.is_null()) {
        let msg = "This build changes the blocks of an agent by attaching and detaching them";
        return Err(HttpError::body_field("block_ids", msg));
    }
    let (approvals, rules) = tool_rules(&mut rest)?.unzip();
    let (budget, max_steps) = (budget(&mut rest)?, max_steps(&mut rest)?);
    let extra = extra(rest, wire.model_settings.as_ref())?;
    let settings = wire.model_settings.unwrap_or_default();
    Ok(record::UpdateAgent {
        approvals,
        rules,
        budget,
        name: wire.name,
        system: wire.system,
        description: wire.description,
        model: wire.model.or_else(|| handle(wire.llm_config)),
        embedding: wire.embedding,
        context_window: wire.context_window_limit,
        max_tokens: wire.max_tokens.or(settings.max_output_tokens),
        temperature: temperature(&settings),
        tools: wire.tool_ids.map(|ids| names_of(ids, tools)).transpose()?,
        tags: wire.tags,
        metadata: wire.metadata.map(|metadata| metadata.into_iter().collect()),
        timezone: wire.timezone,
        max_steps,
        extra,
    })
}

/// The agent as clients see it.
pub(crate) fn state(agent: AgentRecord, tools: &[ToolInfo]) -> AgentState {
    let own_fields = [
        ("tool_rules".to_owned(), shown_rules(&agent)),
        ("budget".to_owned(), serde_json::json!(agent.budget)),
        ("max_steps".to_owned(), agent.max_steps.into()),
        ("forked_from".to_owned(), serde_json::json!(agent.forked_from)),
    ];
    let blocks: Vec<block::Block> = agent.blocks.into_iter().map(block).collect();
    let tools = tools.iter().filter(|tool| agent.tools.contains(&tool.spec.name)).map(tool).collect();
    AgentState {
        id: agent.id,
        name: agent.name,
        agent_type: agent.agent_type.word().to_owned(),
        system: agent.system,
        memory: Memory { blocks: blocks.clone() },
        blocks,
        llm_config: model::config(&agent.model),
        model: agent.model.handle,
        tools,
        tags: agent.tags,
        sources: Vec::new(),
        description: agent.description,
        metadata: agent.metadata.into_iter().collect(),
        timezone: agent.timezone,
        created_at: Timestamp(agent.created_ms),
        updated_at: Timestamp(agent.updated_ms),
        embedding: agent.embedding,
        kept: agent.extra.into_iter().chain(own_fields).collect(),
    }
}

/// A block as clients see it.
pub(crate) fn block(block: Block) -> block::Block {
    block::Block {
        id: block.id,
        value: block.value,
        label: block.label,
        limit: block.limit as u64,
        description: block.description,
        read_only: block.read_only,
        kept: Map::new(),
    }
}

/// A block that belongs to no agent, and what is kept with it.
pub(crate) fn own_block(wire: CreateBlock) -> Result<(NewBlock, BTreeMap<String, Value>), HttpError> {
    let kept = kept_of_block(wire.rest.clone());
    let limit = wire.limit.map(size).transpose().map_err(|msg| HttpError::body_field("limit", msg))?;
    let new = NewBlock {
        label: wire.label,
        value: wire.value,
        limit,
        description: wire.description,
        read_only: wire.read_only.unwrap_or_default(),
    };
    Ok((new, kept))
}

/// Of the fields of a block, those that come back as given.
pub(crate) fn kept_of_block(rest: Map<String, Value>) -> BTreeMap<String, Value> {
    let known = |(name, value): &(String, Value)| BLOCK_KEPT.contains(&name.as_str()) && !value.is_null();
    rest.into_iter().filter(known).collect()
}

/// The shared blocks that a new agent is to have.
fn block_ids(rest: &mut Map<String, Value>) -> Result<Vec<String>, HttpError> {
    let Some(ids) = rest.remove("block_ids").filter(|ids| !ids.is_null()) else { return Ok(Vec::new()) };
    serde_json::from_value(ids)
        .map_err(|_| HttpError::body_field("block_ids", "Input should be a list of ids"))
}

/// A change of a block.
pub(crate) fn block_change(label: &str, wire: UpdateBlock) -> Result<BlockChange, HttpError> {
    if wire.label.as_deref().is_some_and(|new| new != label) {
        return Err(HttpError::body_field("label", "This build can't rename a block"));
    }
    Ok(BlockChange {
        value: wire.value,
        limit: wire.limit.map(size).transpose().map_err(|msg| HttpError::body_field("limit", msg))?,
        description: wire.description,
        read_only: wire.read_only,
    })
}

/// What the wire has a type of its own for.
const EDITS_V2: [&str; 3] = ["memory_insert", "memory_replace", "memory_rethink"];

/// A tool as clients see it.
pub(crate) fn tool(tool: &ToolInfo) -> Tool {
    let tool_type = match tool.kind {
        ToolKind::BuiltIn if tool.spec.name.starts_with("core_memory_") => "letta_memory_core",
        ToolKind::BuiltIn if EDITS_V2.contains(&tool.spec.name.as_str()) => "letta_sleeptime_core",
        ToolKind::BuiltIn => "letta_core",
        ToolKind::Outside | ToolKind::Custom => "custom",
    };
    let custom = tool.custom.as_deref();
    Tool {
        id: tool.id.clone(),
        name: tool.spec.name.clone(),
        description: tool.spec.description.clone(),
        json_schema: function(&tool.spec),
        tool_type: tool_type.to_owned(),
        tags: custom.map(|custom| custom.tags.clone()).unwrap_or_default(),
        source_code: custom.map(|custom| custom.source_code.clone()),
        source_type: custom.map(|custom| custom.source_type.clone()),
        kept: custom.map(|custom| custom.kept.clone().into_iter().collect()).unwrap_or_default(),
    }
}

/// The JSON schema of a tool's function.
pub(crate) fn function(spec: &ToolSpec) -> Value {
    let ToolSpec { name, description, parameters } = spec;
    serde_json::json!({ "name": name, "description": description, "parameters": parameters })
}

/// A tool of source code to keep, or a change of one.
pub(crate) fn new_tool(wire: KeepTool) -> NewTool {
    let known = |(name, value): &(String, Value)| TOOL_KEPT.contains(&name.as_str()) && !value.is_null();
    NewTool {
        source_code: wire.source_code,
        source_type: wire.source_type,
        description: wire.description,
        json_schema: wire.json_schema.filter(|schema| !schema.is_null()),
        args_json_schema: wire.args_json_schema.filter(|schema| !schema.is_null()),
        tags: wire.tags,
        kept: wire.rest.into_iter().filter(known).collect(),
    }
}

fn agent_type(word: &str) -> Result<AgentType, HttpError> {
    AgentType::from_word(word).ok_or_else(|| {
        let known: Vec<&str> = AgentType::ALL.into_iter().map(AgentType::word).collect();
        HttpError::body_field("agent_type", format!("This build has {} only", known.join(", ")))
    })
}

/// The older form of a model; a handle says more than a name.
fn handle(choice: Option<ModelChoice>) -> Option<String> {
    choice.and_then(|choice| choice.handle.or(choice.model))
}

fn names_of(ids: Vec<String>, tools: &[ToolInfo]) -> Result<Vec<String>, HttpError> {
    let name = |(place, id): (usize, String)| {
        let tool = tools.iter().find(|tool| tool.id == id);
        let missing =
            || HttpError::body_field(&format!("tool_ids.{place}"), format!("There is no tool {id}"));
        tool.map(|tool| tool.spec.name.clone()).ok_or_else(missing)
    };
    ids.into_iter().enumerate().map(name).collect()
}

fn new_block(place: usize, wire: CreateBlock) -> Result<NewBlock, HttpError> {
    let limit = wire.limit.map(size).transpose();
    Ok(NewBlock {
        label: wire.label,
        value: wire.value,
        limit: limit.map_err(|msg| HttpError::body_field(&format!("memory_blocks.{place}.limit"), msg))?,
        description: wire.description,
        read_only: wire.read_only.unwrap_or_default(),
    })
}

fn size(limit: u64) -> Result<usize, String> {
    usize::try_from(limit).map_err(|_| format!("{limit} characters are more than this machine can count"))
}

/// The tools of which each call has to be approved, and all other rules.
type Rules = (BTreeSet<String>, Vec<ToolRule>);

/// The rules that somebody gives.
fn tool_rules(rest: &mut Map<String, Value>) -> Result<Option<Rules>, HttpError> {
    let rules = match rest.remove("tool_rules") {
        None | Some(Value::Null) => return Ok(None),
        Some(rules) => rules,
    };
    let Some(rules) = rules.as_array() else {
        return Err(HttpError::body_field("tool_rules", "Input should be a list of rules"));
    };
    let (mut approvals, mut others) = (BTreeSet::new(), Vec::new());
    for (place, rule) in rules.iter().enumerate() {
        let field = format!("tool_rules.{place}");
        if let Some(prefilled) =
            ["args", "child_arg_nodes"].into_iter().find(|name| rule.get(name).is_some_and(is_set))
        {
            let msg = "This build does not have arguments that a rule fills in";
            return Err(HttpError::body_field(&format!("{field}.{prefilled}"), msg));
        }
        let kind = rule.get("type").and_then(Value::as_str).unwrap_or_default();
        let name = rule.get("tool_name").and_then(Value::as_str);
        match (kind, name) {
            ("requires_approval", Some(name)) => drop(approvals.insert(name.to_owned())),
            _ => {
                let rule = serde_json::from_value(rule.clone());
                others.push(rule.map_err(|error| HttpError::body_field(&field, error.to_string()))?);
            }
        }
    }
    Ok(Some((approvals, others)))
}

/// The same, as clients see it.
fn shown_rules(agent: &AgentRecord) -> Value {
    let approval = |name: &String| serde_json::json!({ "type": "requires_approval", "tool_name": name });
    let others = agent.rules.iter().map(|rule| serde_json::json!(rule));
    agent.approvals.iter().map(approval).chain(others).collect()
}

/// What an agent may use up in a day.
fn budget(rest: &mut Map<String, Value>) -> Result<Option<Budget>, HttpError> {
    let Some(budget) = rest.remove("budget").filter(|budget| !budget.is_null()) else { return Ok(None) };
    let budget = serde_json::from_value(budget);
    budget.map(Some).map_err(|error| HttpError::body_field("budget", error.to_string()))
}

/// Steps that one run may take, if its message does not say.
fn max_steps(rest: &mut Map<String, Value>) -> Result<Option<u32>, HttpError> {
    let Some(steps) = rest.remove("max_steps").filter(|steps| !steps.is_null()) else { return Ok(None) };
    let steps = steps.as_u64().and_then(|steps| u32::try_from(steps).ok());
    steps
        .map(Some)
        .ok_or_else(|| HttpError::body_field("max_steps", "Input should be a whole number above zero"))
}

/// Sorts the fields that are none of the domain's.
fn extra(
    mut rest: Map<String, Value>,
    settings: Option<&ModelSettings>,
) -> Result<BTreeMap<String, Value>, HttpError> {
    for (field, what) in REFUSED {
        if rest.get(field).is_some_and(is_set) {
            return Err(HttpError::body_field(field, format!("This build does not have {what}")));
        }
    }
    let kept = KEPT.into_iter().filter_map(|field| rest.remove_entry(field));
    let mut kept: BTreeMap<String, Value> = kept.filter(|(_, value)| !value.is_null()).collect();
    if let Some(format) =
        settings.and_then(|settings| settings.rest.get("response_format")).filter(|format| is_set(format))
    {
        kept.insert("response_format".to_owned(), format.clone());
    }
    if let Some(settings) = settings {
        kept.insert("model_settings".to_owned(), as_json(settings));
    }
    Ok(kept)
}

fn as_json(settings: &ModelSettings) -> Value {
    serde_json::to_value(settings).expect("settings have string keys and came as JSON")
}

/// The domain's precision: more than any model heeds.
#[expect(clippy::cast_possible_truncation, reason = "a temperature needs no more digits")]
fn temperature(settings: &ModelSettings) -> Option<f32> {
    settings.temperature.map(|temperature| temperature as f32)
}

/// Whether a value asks for something: not null, not no, not empty.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}
