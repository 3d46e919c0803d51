//! Creating, changing and deleting agents and their core memory by people and programs.

use std::collections::BTreeSet;

use kelpie_core::record;
use kelpie_memory::block::{BLOCKS_MAX, Block, EditError, NewBlock};
use kelpie_runtime::{HandlerError, RecordRange, Turn};

use super::desk::Desk;
use super::ending::no_price;
use super::rows::{self, Life};
use super::{SetTool, Shared, UpdateBlock, blocks, code, invalid};
use crate::budget::Whose;
use crate::prompt;
use crate::record::{
    AgentRecord, CONTEXT_WINDOW_DEFAULT, CreateAgent, MAX_STEPS_DEFAULT, MAX_STEPS_MAX, ModelChoice,
    UpdateAgent,
};
use crate::rules::ToolRule;
use crate::show;
use crate::tool::builtin::BuiltIn;
use crate::tool::foreign;

/// Bytes of a name or tag: they are part of index keys.
const NAME_BYTES_MAX: usize = 256;
/// Tags of one agent: each is a row.
const TAGS_MAX: usize = 64;
/// Rules about the tools of one agent.
const RULES_MAX: usize = 128;
/// Tools of one agent.
const TOOLS_MAX: usize = 128;

/// Makes the agent of this turn.
pub(super) async fn create(
    turn: &mut Turn,
    shared: &Shared,
    create: CreateAgent,
) -> Result<AgentRecord, HandlerError> {
    match rows::decoded(turn.get(rows::AGENT).await?)? {
        None => {}
        Some(Life::Alive(_)) => return Err(HandlerError::app(code::EXISTS, "the agent exists already")),
        Some(Life::Deleted { .. }) => return Err(HandlerError::app(code::NOT_FOUND, "Agent not found")),
    }
    let now_ms = turn.now_ms();
    let id = turn.actor().key().to_owned();
    let agent = AgentRecord {
        name: create.name.clone().unwrap_or_else(|| made_up_name(turn.random_u64())),
        id,
        agent_type: create.agent_type,
        system: create.system.clone().unwrap_or_else(|| prompt::system_default(create.agent_type).to_owned()),
        description: create.description.clone(),
        model: model(shared, &create)?,
        embedding: create.embedding.clone(),
        blocks: new_blocks(turn, &create.blocks)?,
        archives: Vec::new(),
        tools: {
            let base = if create.include_base_tools { create.agent_type.base_tools() } else { Vec::new() };
            tools(turn, shared, &base, &create.tools).await?
        },
        approvals: create.approvals.clone(),
        rules: create.rules.clone(),
        budget: create.budget,
        tags: tags(create.tags.clone())?,
        metadata: create.metadata.clone(),
        timezone: create.timezone.clone(),
        max_steps: steps(create.max_steps.unwrap_or(MAX_STEPS_DEFAULT))?,
        extra: create.extra.clone(),
        forked_from: None,
        created_ms: now_ms,
        updated_ms: now_ms,
    };
    checked_name(&agent.name)?;
    checked_approvals(&agent)?;
    checked_rules(&agent)?;
    checked_format(&agent)?;
    checked_budget(shared, &agent)?;
    let mut agent = agent;
    for block in &agent.blocks {
        blocks::keep(turn, &agent, block);
    }
    for (place, id) in create.block_ids.iter().enumerate() {
        let gone = || invalid(&format!("block_ids.{place}"), format!("there is no block {id}"));
        let shared = rows::shared_block(turn, id).await?.ok_or_else(gone)?;
        let block = placed(&agent.blocks, shared.block).map_err(edit)?;
        blocks::link(turn, &agent, &block);
        agent.blocks.push(block);
    }
    index(turn, &agent);
    let stored = AgentRecord { blocks: Vec::new(), ..agent.clone() };
    turn.set(rows::AGENT, record::encode(&Life::Alive(Box::new(stored))));
    Ok(agent)
}

fn made_up_name(random: u64) -> String {
    const FIRST: [&str; 8] = ["Amber", "Brisk", "Calm", "Deep", "Eager", "Fair", "Green", "Hazel"];
    const SECOND: [&str; 8] = ["Otter", "Heron", "Seal", "Urchin", "Tern", "Crab", "Gull", "Wrasse"];
    let [first, second, ..] = random.to_le_bytes();
    format!("{}{}", FIRST[usize::from(first % 8)], SECOND[usize::from(second % 8)])
}

fn model(shared: &Shared, create: &CreateAgent) -> Result<ModelChoice, HandlerError> {
    let handle = create.model.clone().or_else(|| shared.models.default_handle());
    let unknown = || {
        let preferred = shared.models.provider_names().first().copied().unwrap_or("no provider").to_owned();
        invalid("model", format!("name a model: {preferred} does not say now which it offers"))
    };
    let handle = handle.ok_or_else(unknown)?;
    served(shared, &handle)?;
    let known = shared.models.context_window(&handle);
    Ok(ModelChoice {
        context_window: create.context_window.or(known).unwrap_or(CONTEXT_WINDOW_DEFAULT),
        handle,
        max_tokens: create.max_tokens,
        temperature: create.temperature,
    })
}

pub(super) fn served(shared: &Shared, handle: &str) -> Result<(), HandlerError> {
    if shared.models.serves(handle) {
        return Ok(());
    }
    let names = shared.models.provider_names().join(", ");
    Err(invalid(
        "model",
        format!("no provider for {handle:?}; a model is provider/name, providers here: {names}"),
    ))
}

fn new_blocks(turn: &Turn, new: &[NewBlock]) -> Result<Vec<Block>, HandlerError> {
    let mut blocks: Vec<Block> = Vec::new();
    for new in new {
        let block = next_block(turn, &blocks, new.clone())?;
        blocks.push(block);
    }
    Ok(blocks)
}

fn next_block(turn: &Turn, blocks: &[Block], new: NewBlock) -> Result<Block, HandlerError> {
    let id = show::block_id(turn.actor().key(), turn.turn_id(), &new.label);
    placed(blocks, Block::new(id, 0, new).map_err(edit)?).map_err(edit)
}

/// A block at the end of those that an agent has.
pub(super) fn placed(blocks: &[Block], block: Block) -> Result<Block, EditError> {
    if blocks.iter().any(|known| known.label == block.label) {
        return Err(EditError::LabelTaken { label: block.label });
    }
    if blocks.len() >= BLOCKS_MAX {
        return Err(EditError::TooMany);
    }
    let place = blocks.iter().map(|block| block.place + 1).max().unwrap_or(0);
    Ok(Block { place, ..block })
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of an error")]
pub(super) fn edit(error: EditError) -> HandlerError {
    let field = match error {
        EditError::TooLong { .. }
        | EditError::SharedTooLong { .. }
        | EditError::ReadOnly
        | EditError::NotFound { .. }
        | EditError::Nowhere { .. }
        | EditError::ManyPlaces { .. }
        | EditError::NoSuchLine { .. }
        | EditError::NothingToReplace { .. } => "value",
        EditError::BadLabel | EditError::LabelTaken { .. } => "label",
        EditError::BadLimit { .. } => "limit",
        EditError::TooMany => "memory_blocks",
        EditError::NoSuchBlock { .. } => return HandlerError::app(code::NO_BLOCK, error.to_string()),
    };
    invalid(field, error.to_string())
}

async fn tools(
    turn: &mut Turn,
    shared: &Shared,
    base: &[BuiltIn],
    more: &[String],
) -> Result<Vec<String>, HandlerError> {
    let base = base.iter().map(|tool| tool.name().to_owned());
    let mut seen = BTreeSet::new();
    let tools: Vec<String> =
        base.chain(more.iter().cloned()).filter(|name| seen.insert(name.clone())).collect();
    if tools.len() > TOOLS_MAX {
        return Err(invalid("tools", format!("an agent may have at most {TOOLS_MAX} tools")));
    }
    let custom = super::tools::among(turn, shared, &tools).await?;
    let known = |name: &String| {
        BuiltIn::from_name(name).is_some()
            || shared.outside.contains_key(name)
            || custom.contains_key(name)
            || foreign::is(name)
    };
    match tools.iter().find(|name| !known(name)) {
        Some(unknown) => Err(invalid("tools", format!("there is no tool {unknown:?}"))),
        None => Ok(tools),
    }
}

/// One cannot approve what is never called.
fn checked_approvals(agent: &AgentRecord) -> Result<(), HandlerError> {
    match agent.approvals.iter().find(|name| !agent.tools.contains(name)) {
        Some(unknown) => Err(invalid("tool_rules", format!("the agent has no tool {unknown:?}"))),
        None => Ok(()),
    }
}

fn has(tools: &[String], name: &str) -> bool {
    tools.iter().any(|tool| tool == name)
}

/// A rule about a tool that the agent has not could keep a run from ever ending.
fn checked_rules(agent: &AgentRecord) -> Result<(), HandlerError> {
    if agent.rules.len() > RULES_MAX {
        return Err(invalid("tool_rules", format!("an agent may have at most {RULES_MAX} rules")));
    }
    let mut names = agent.rules.iter().flat_map(ToolRule::names);
    match names.find(|name| !has(&agent.tools, name)) {
        Some(unknown) => Err(invalid("tool_rules", format!("the agent has no tool {unknown:?}"))),
        None => Ok(()),
    }
}

fn checked_format(agent: &AgentRecord) -> Result<(), HandlerError> {
    agent.response_format().map(drop).map_err(|problem| invalid("response_format", problem))
}

/// Money that nobody can count limits nothing.
fn checked_budget(shared: &Shared, agent: &AgentRecord) -> Result<(), HandlerError> {
    let model = &agent.model.handle;
    let counted = agent.budget.microdollars_per_day.is_none() || shared.spending.prices.of(model).is_some();
    if counted { Ok(()) } else { Err(invalid("budget", no_price(Whose::Agent, model))) }
}

fn tags(mut tags: Vec<String>) -> Result<Vec<String>, HandlerError> {
    tags.sort();
    tags.dedup();
    if tags.len() > TAGS_MAX {
        return Err(invalid("tags", format!("an agent may have at most {TAGS_MAX} tags")));
    }
    match tags.iter().find(|tag| tag.is_empty() || tag.len() > NAME_BYTES_MAX || tag.contains('\0')) {
        Some(_) => Err(invalid("tags", format!("a tag must have 1 to {NAME_BYTES_MAX} bytes and no NUL"))),
        None => Ok(tags),
    }
}

pub(super) fn checked_name(name: &str) -> Result<(), HandlerError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(invalid(
            "name",
            format!("must have 1 to {NAME_BYTES_MAX} bytes and no control characters"),
        ));
    }
    Ok(())
}

fn steps(max_steps: u32) -> Result<u32, HandlerError> {
    if (1..=MAX_STEPS_MAX).contains(&max_steps) {
        return Ok(max_steps);
    }
    Err(invalid("max_steps", format!("must be between 1 and {MAX_STEPS_MAX}, not {max_steps}")))
}

pub(super) fn index(turn: &mut Turn, agent: &AgentRecord) {
    let AgentRecord { id, name, tags, created_ms, .. } = agent;
    turn.index_set(rows::INDEX_CREATED, &rows::created_entry(*created_ms, id), "");
    turn.index_set(rows::INDEX_NAME, &rows::value_entry(name, *created_ms, id), "");
    for kind in show::OWNED {
        turn.index_set(rows::INDEX_OWNERS, &show::owner_mark(kind, id), id.clone());
    }
    for tag in tags {
        turn.index_set(rows::INDEX_TAG, &rows::value_entry(tag, *created_ms, id), "");
    }
}

fn unindex(turn: &mut Turn, agent: &AgentRecord) {
    let AgentRecord { id, name, tags, created_ms, .. } = agent;
    turn.index_clear(rows::INDEX_CREATED, &rows::created_entry(*created_ms, id));
    turn.index_clear(rows::INDEX_NAME, &rows::value_entry(name, *created_ms, id));
    for kind in show::OWNED {
        turn.index_clear(rows::INDEX_OWNERS, &show::owner_mark(kind, id));
    }
    for tag in tags {
        turn.index_clear(rows::INDEX_TAG, &rows::value_entry(tag, *created_ms, id));
    }
}

impl Desk<'_> {
    /// Changes the agent's settings.
    pub(super) async fn update(&mut self, change: UpdateAgent) -> Result<AgentRecord, HandlerError> {
        let before = self.agent.clone();
        let agent = &mut self.agent;
        if let Some(name) = change.name {
            checked_name(&name)?;
            agent.name = name;
        }
        if let Some(handle) = change.model {
            served(self.shared, &handle)?;
            agent.model.context_window =
                self.shared.models.context_window(&handle).unwrap_or(agent.model.context_window);
            agent.model.handle = handle;
        }
        if let Some(names) = change.tools {
            agent.tools = tools(self.turn, self.shared, &[], &names).await?;
            agent.approvals.retain(|name| agent.tools.contains(name));
            let kept = |rule: &ToolRule| rule.names().iter().all(|name| has(&agent.tools, name));
            agent.rules.retain(kept);
        }
        if let Some(names) = change.approvals {
            agent.approvals = names;
            checked_approvals(agent)?;
        }
        if let Some(rules) = change.rules {
            agent.rules = rules;
            checked_rules(agent)?;
        }
        agent.budget = change.budget.unwrap_or(agent.budget);
        if let Some(new) = change.tags {
            agent.tags = tags(new)?;
        }
        if let Some(max_steps) = change.max_steps {
            agent.max_steps = steps(max_steps)?;
        }
        agent.system = change.system.unwrap_or_else(|| std::mem::take(&mut agent.system));
        agent.description = change.description.or_else(|| agent.description.take());
        agent.embedding = change.embedding.or_else(|| agent.embedding.take());
        agent.timezone = change.timezone.or_else(|| agent.timezone.take());
        agent.model.context_window = change.context_window.unwrap_or(agent.model.context_window);
        agent.model.max_tokens = change.max_tokens.or(agent.model.max_tokens);
        agent.model.temperature = change.temperature.or(agent.model.temperature);
        agent.metadata = change.metadata.unwrap_or_else(|| std::mem::take(&mut agent.metadata));
        agent.extra.extend(change.extra);
        checked_format(agent)?;
        checked_budget(self.shared, agent)?;
        agent.updated_ms = self.turn.now_ms();
        unindex(self.turn, &before);
        index(self.turn, &self.agent);
        self.save_agent();
        Ok(self.agent.clone())
    }

    /// Gives the agent a tool or takes it away, and says whether its calls have to be approved.
    pub(super) async fn set_tool(&mut self, set: SetTool) -> Result<AgentRecord, HandlerError> {
        let SetTool { name, attached, requires_approval } = set;
        let mut names = self.agent.tools.clone();
        match attached {
            Some(true) if !names.contains(&name) => names.push(name.clone()),
            Some(false) => names.retain(|known| *known != name),
            Some(true) | None => {}
        }
        let mut approvals = self.agent.approvals.clone();
        match requires_approval {
            Some(_) if !names.contains(&name) => {
                return Err(HandlerError::app(code::NO_TOOL, "Tool not found"));
            }
            Some(true) => drop(approvals.insert(name)),
            Some(false) => drop(approvals.remove(&name)),
            None => {}
        }
        approvals.retain(|name| names.contains(name));
        let change = UpdateAgent { tools: Some(names), approvals: Some(approvals), ..UpdateAgent::default() };
        self.update(change).await
    }

    /// Deletes the agent with all that it has. What is left says that it was.
    pub(super) async fn delete(mut self) -> Result<(), HandlerError> {
        self.unschedule_all().await?;
        unindex(self.turn, &self.agent);
        for block in &self.agent.blocks {
            blocks::forget(self.turn, &self.agent, block).await?;
        }
        let conversations = self.turn.range(RecordRange::prefix(rows::CONVERSATIONS)).await?;
        for (_, row) in conversations {
            let talk: rows::Conversation = record::decode(&row).map_err(kelpie_runtime::TurnError::from)?;
            if let Some(about) = talk.about {
                let entry = rows::created_entry(about.created_ms, &about.id);
                self.turn.index_clear(rows::INDEX_CONVERSATIONS, &entry);
            }
        }
        self.turn.clear_range(RecordRange::prefix(b""));
        let left = Life::Deleted { created_ms: self.agent.created_ms };
        self.turn.set(rows::AGENT, record::encode(&left));
        self.turn.wake_at(None);
        Ok(())
    }

    /// Adds a core memory block.
    pub(super) fn add_block(&mut self, new: NewBlock) -> Result<Block, HandlerError> {
        let block = next_block(self.turn, &self.agent.blocks, new)?;
        blocks::keep(self.turn, &self.agent, &block);
        self.agent.blocks.push(block.clone());
        Ok(block)
    }

    /// Changes a core memory block on behalf of a person or program.
    pub(super) async fn update_block(&mut self, update: &UpdateBlock) -> Result<Block, HandlerError> {
        let block = self.block(&update.label).map_err(edit)?.changed(&update.change).map_err(edit)?;
        self.save_block(block.clone()).await?.map_err(edit)?;
        Ok(block)
    }

    /// Removes a core memory block.
    pub(super) async fn remove_block(&mut self, label: &str) -> Result<(), HandlerError> {
        let block = self.block(label).map_err(edit)?.clone();
        self.agent.blocks.retain(|block| block.label != label);
        Ok(blocks::forget(self.turn, &self.agent, &block).await?)
    }

    /// The block of that label.
    pub(super) fn block(&self, label: &str) -> Result<&Block, EditError> {
        let found = self.agent.blocks.iter().find(|block| block.label == label);
        found.ok_or_else(|| EditError::NoSuchBlock {
            label: label.to_owned(),
            available: self.agent.blocks.iter().map(|block| block.label.clone()).collect(),
        })
    }
}
