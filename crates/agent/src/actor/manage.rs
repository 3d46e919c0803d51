//! Creating, changing and deleting agents and their core memory by people and programs.

use std::collections::BTreeSet;

use kelpie_core::record;
use kelpie_memory::block::{BLOCKS_MAX, Block, EditError, NewBlock};
use kelpie_memory::layout;
use kelpie_runtime::{HandlerError, RecordRange, Turn};

use super::desk::Desk;
use super::rows::{self, Life};
use super::{Shared, UpdateBlock, code, invalid};
use crate::prompt;
use crate::record::{
    AgentRecord, CONTEXT_WINDOW_DEFAULT, CreateAgent, MAX_STEPS_DEFAULT, MAX_STEPS_MAX, ModelChoice,
    UpdateAgent,
};
use crate::show;
use crate::tool::builtin::BuiltIn;

/// Bytes of a name or tag: they are part of index keys.
const NAME_BYTES_MAX: usize = 256;
/// Tags of one agent: each is a row.
const TAGS_MAX: usize = 64;
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
        system: create.system.clone().unwrap_or_else(|| prompt::SYSTEM_DEFAULT.to_owned()),
        description: create.description.clone(),
        model: model(shared, &create)?,
        embedding: create.embedding.clone(),
        blocks: blocks(turn, &create.blocks)?,
        tools: tools(shared, create.include_base_tools, &create.tools)?,
        tags: tags(create.tags.clone())?,
        metadata: create.metadata.clone(),
        timezone: create.timezone.clone(),
        max_steps: steps(create.max_steps.unwrap_or(MAX_STEPS_DEFAULT))?,
        extra: create.extra.clone(),
        created_ms: now_ms,
        updated_ms: now_ms,
    };
    checked_name(&agent.name)?;
    for block in &agent.blocks {
        turn.set(layout::block(&block.label), record::encode(block));
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

fn served(shared: &Shared, handle: &str) -> Result<(), HandlerError> {
    if shared.models.serves(handle) {
        return Ok(());
    }
    let names = shared.models.provider_names().join(", ");
    Err(invalid(
        "model",
        format!("no provider for {handle:?}; a model is provider/name, providers here: {names}"),
    ))
}

fn blocks(turn: &Turn, new: &[NewBlock]) -> Result<Vec<Block>, HandlerError> {
    let mut blocks: Vec<Block> = Vec::new();
    for new in new {
        let block = next_block(turn, &blocks, new.clone())?;
        blocks.push(block);
    }
    Ok(blocks)
}

fn next_block(turn: &Turn, blocks: &[Block], new: NewBlock) -> Result<Block, HandlerError> {
    if blocks.iter().any(|block| block.label == new.label) {
        return Err(edit(EditError::LabelTaken { label: new.label }));
    }
    if blocks.len() >= BLOCKS_MAX {
        return Err(edit(EditError::TooMany));
    }
    let id = show::block_id(turn.actor().key(), turn.turn_id(), &new.label);
    let place = blocks.iter().map(|block| block.place + 1).max().unwrap_or(0);
    Block::new(id, place, new).map_err(edit)
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of an error")]
fn edit(error: EditError) -> HandlerError {
    let field = match error {
        EditError::TooLong { .. }
        | EditError::ReadOnly
        | EditError::NotFound { .. }
        | EditError::NothingToReplace { .. } => "value",
        EditError::BadLabel | EditError::LabelTaken { .. } => "label",
        EditError::BadLimit { .. } => "limit",
        EditError::TooMany => "memory_blocks",
        EditError::NoSuchBlock { .. } => return HandlerError::app(code::NO_BLOCK, error.to_string()),
    };
    invalid(field, error.to_string())
}

fn tools(shared: &Shared, base: bool, more: &[String]) -> Result<Vec<String>, HandlerError> {
    let base = BuiltIn::ALL.iter().filter(|_| base).map(|tool| tool.name().to_owned());
    let mut seen = BTreeSet::new();
    let tools: Vec<String> =
        base.chain(more.iter().cloned()).filter(|name| seen.insert(name.clone())).collect();
    if tools.len() > TOOLS_MAX {
        return Err(invalid("tools", format!("an agent may have at most {TOOLS_MAX} tools")));
    }
    match tools.iter().find(|name| BuiltIn::from_name(name).is_none() && !shared.outside.contains_key(*name))
    {
        Some(unknown) => Err(invalid("tools", format!("there is no tool {unknown:?}"))),
        None => Ok(tools),
    }
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

fn checked_name(name: &str) -> Result<(), HandlerError> {
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

fn index(turn: &mut Turn, agent: &AgentRecord) {
    let AgentRecord { id, name, tags, created_ms, .. } = agent;
    turn.index_set(rows::INDEX_CREATED, &rows::created_entry(*created_ms, id), "");
    turn.index_set(rows::INDEX_NAME, &rows::value_entry(name, *created_ms, id), "");
    turn.index_set(rows::INDEX_RUNS, &show::owner_of_runs(id), id.clone());
    for tag in tags {
        turn.index_set(rows::INDEX_TAG, &rows::value_entry(tag, *created_ms, id), "");
    }
}

fn unindex(turn: &mut Turn, agent: &AgentRecord) {
    let AgentRecord { id, name, tags, created_ms, .. } = agent;
    turn.index_clear(rows::INDEX_CREATED, &rows::created_entry(*created_ms, id));
    turn.index_clear(rows::INDEX_NAME, &rows::value_entry(name, *created_ms, id));
    turn.index_clear(rows::INDEX_RUNS, &show::owner_of_runs(id));
    for tag in tags {
        turn.index_clear(rows::INDEX_TAG, &rows::value_entry(tag, *created_ms, id));
    }
}

impl Desk<'_> {
    /// Changes the agent's settings.
    pub(super) fn update(&mut self, change: UpdateAgent) -> Result<AgentRecord, HandlerError> {
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
            agent.tools = tools(self.shared, false, &names)?;
        }
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
        agent.updated_ms = self.turn.now_ms();
        unindex(self.turn, &before);
        index(self.turn, &self.agent);
        self.save_agent();
        Ok(self.agent.clone())
    }

    /// Deletes the agent with all that it has. What is left says that it was.
    pub(super) fn delete(self) {
        unindex(self.turn, &self.agent);
        self.turn.clear_range(RecordRange::prefix(b""));
        let left = Life::Deleted { created_ms: self.agent.created_ms };
        self.turn.set(rows::AGENT, record::encode(&left));
        self.turn.wake_at(None);
    }

    /// Adds a core memory block.
    pub(super) fn add_block(&mut self, new: NewBlock) -> Result<Block, HandlerError> {
        let block = next_block(self.turn, &self.agent.blocks, new)?;
        self.agent.blocks.push(block.clone());
        self.turn.set(layout::block(&block.label), record::encode(&block));
        Ok(block)
    }

    /// Changes a core memory block on behalf of a person or program.
    pub(super) fn update_block(&mut self, update: &UpdateBlock) -> Result<Block, HandlerError> {
        let block = self.block(&update.label).map_err(edit)?.changed(&update.change).map_err(edit)?;
        self.save_block(block.clone());
        Ok(block)
    }

    /// Removes a core memory block.
    pub(super) fn remove_block(&mut self, label: &str) -> Result<(), HandlerError> {
        self.block(label).map_err(edit)?;
        self.agent.blocks.retain(|block| block.label != label);
        self.turn.clear(layout::block(label));
        Ok(())
    }

    /// The block of that label.
    pub(super) fn block(&self, label: &str) -> Result<&Block, EditError> {
        let found = self.agent.blocks.iter().find(|block| block.label == label);
        found.ok_or_else(|| EditError::NoSuchBlock {
            label: label.to_owned(),
            available: self.agent.blocks.iter().map(|block| block.label.clone()).collect(),
        })
    }

    /// Puts a block in the place of the one with its label.
    pub(super) fn save_block(&mut self, block: Block) {
        self.turn.set(layout::block(&block.label), record::encode(&block));
        if kelpie_core::mutant!("block_edit_not_seen_by_the_next") {
            return;
        }
        for kept in &mut self.agent.blocks {
            if kept.label == block.label {
                kept.clone_from(&block);
            }
        }
    }
}
