//! An agent made from another: its settings, memory and messages as they were.
//!
//! ```text
//!   source (read at one version)   settings, blocks, where its conversation ends
//!   rows, page by page             ─▶ turns of the new actor, which is no agent yet
//!   publish                        ─▶ one turn: from now on it is one
//! ```
//!
//! Invariant: until it is published nobody sees it, so a fork is there whole or not at all.

use kelpie_core::record;
use kelpie_memory::archival::Passage;
use kelpie_memory::layout;
use kelpie_memory::name::{self, Place};
use kelpie_memory::working::WorkingEntry;
use kelpie_runtime::{HandlerError, Turn, TurnError};
use serde::{Deserialize, Serialize};

use super::rows::{self, Conversation, Life, Progress};
use super::{blocks, code, manage, schedule, undo};
use crate::record::{AgentRecord, ForkOrigin};
use crate::show;

/// What a fork begins with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Publish {
    /// The source's settings, with its blocks.
    pub(crate) agent: AgentRecord,
    /// Where it comes from.
    pub(crate) origin: ForkOrigin,
    /// The conversation that it takes over.
    pub(crate) talk: Conversation,
    /// How many passages there were.
    pub(crate) passages: u64,
}

/// Rows that a fork takes over as they are.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyRows {
    /// The agent that they are of.
    pub(crate) source: String,
    pub(crate) rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Whether a row of the source goes along: messages of its conversation up to its end, and all of
/// its memory but the blocks, which come with the settings and begin without a past.
pub(crate) fn goes_along(key: &[u8], talk: &Conversation, passages: u64) -> bool {
    for prefix in [layout::PASSAGES, layout::SEGMENTS] {
        if key.starts_with(prefix) {
            // Later ones came meanwhile, and the fork gives their positions away itself.
            return layout::position(prefix, key).is_some_and(|at| at < passages);
        }
    }
    if key.starts_with(layout::LOG) {
        let position = layout::position(layout::LOG, key);
        return position.is_some_and(|at| (talk.log_first..talk.log_next).contains(&at));
    }
    if kelpie_core::mutant!("fork_takes_schedules_along") && key.starts_with(schedule::SCHEDULED) {
        return true;
    }
    let own = [
        rows::AGENT,
        rows::PROGRESS,
        rows::RUNS,
        rows::CONVERSATIONS,
        rows::WAITING,
        schedule::SCHEDULED,
        undo::UNDO,
        layout::BLOCKS,
    ];
    !own.iter().any(|prefix| key.starts_with(prefix))
}

/// Takes rows over.
pub(super) async fn copy(turn: &mut Turn, copy: CopyRows) -> Result<(), HandlerError> {
    refuse_if_published(turn).await?;
    for (key, row) in copy.rows {
        if key.starts_with(layout::WORKING) {
            let entry: WorkingEntry = record::decode(&row).map_err(TurnError::from)?;
            if entry.is_live(turn.now_ms()) {
                turn.set(key, row);
            }
            continue;
        }
        let row = match layout::position(layout::PASSAGES, &key) {
            // Its id leads to its agent.
            Some(position) => {
                let passage: Passage = record::decode(&row).map_err(TurnError::from)?;
                let own = |place| name::placed("passage", turn.actor().key(), place);
                let id = own(Place { position, part: 0 });
                let by = passage.superseded_by.as_ref();
                let superseded_by = by.and_then(|by| name::place("passage", &copy.source, by)).map(own);
                record::encode(&Passage { id, superseded_by, ..passage })
            }
            None => row.into(),
        };
        turn.set(key, row);
    }
    Ok(())
}

/// Makes the agent of this turn out of what it has taken over.
pub(super) async fn publish(turn: &mut Turn, publish: Publish) -> Result<AgentRecord, HandlerError> {
    refuse_if_published(turn).await?;
    let Publish { agent: source, origin, talk, passages } = publish;
    let (id, now_ms) = (turn.actor().key().to_owned(), turn.now_ms());
    let name = origin.name.clone().unwrap_or_else(|| format!("{}-fork", source.name));
    manage::checked_name(&name)?;
    let taken = source.blocks.clone();
    let (blocks, forked_from) = (Vec::new(), Some(origin));
    let mut agent =
        AgentRecord { id, name, forked_from, created_ms: now_ms, updated_ms: now_ms, blocks, ..source };
    for block in taken {
        if block.shared {
            // One that was deleted meanwhile is gone for all who had it.
            if let Some(shared) = rows::shared_block(turn, &block.id).await? {
                let block = kelpie_memory::block::Block { place: block.place, ..shared.block };
                blocks::link(turn, &agent, &block);
                agent.blocks.push(block);
            }
        } else {
            let id = show::block_id(&agent.id, turn.turn_id(), &block.label);
            let block = kelpie_memory::block::Block { id, ..block };
            blocks::keep(turn, &agent, &block);
            agent.blocks.push(block);
        }
    }
    manage::index(turn, &agent);
    let progress = Progress { passages, ..Progress::default() };
    turn.set(rows::PROGRESS, record::encode(&progress));
    turn.set(rows::conversation(0), record::encode(&talk));
    let stored = AgentRecord { blocks: Vec::new(), ..agent.clone() };
    turn.set(rows::AGENT, record::encode(&Life::Alive(Box::new(stored))));
    Ok(agent)
}

async fn refuse_if_published(turn: &mut Turn) -> Result<(), HandlerError> {
    match rows::decoded(turn.get(rows::AGENT).await?)? {
        None => Ok(()),
        Some(Life::Alive(_)) => Err(HandlerError::app(code::EXISTS, "the agent exists already")),
        Some(Life::Deleted { .. }) => Err(HandlerError::app(code::NOT_FOUND, "Agent not found")),
    }
}

/// The conversation of a fork that ends before a position of its source's.
pub(crate) fn cut(source: &Conversation, end: u64) -> Conversation {
    let base = Conversation { log_first: source.log_first, log_next: end, ..Conversation::new(0) };
    if source.context_from < end {
        let summary_at = source.summary_at.filter(|at| *at < end);
        Conversation { context_from: source.context_from, summary_at, ..base }
    } else {
        Conversation { context_from: source.log_first, ..base }
    }
}
