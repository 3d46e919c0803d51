//! Tools of source code: each is a row that no actor owns, under the tool's id.
//!
//! A turn that reads one commits only if it is still the same. Changes are turns of an actor with
//! the tool's id, which comes from its name: so a name stands for one tool.

use std::collections::BTreeMap;

use kelpie_core::record;
use kelpie_runtime::{HandlerError, Turn, TurnError};

use super::{KeepTool, Shared, code, invalid, rows};
use crate::tool;
use crate::tool::builtin::BuiltIn;
use crate::tool::custom::{CustomTool, NewTool, ToolError};

fn refused(error: ToolError) -> HandlerError {
    invalid(error.field, error.problem)
}

async fn stored(turn: &mut Turn, id: &str) -> Result<Option<CustomTool>, TurnError> {
    rows::decoded(turn.index_get(rows::INDEX_TOOLS, id.as_bytes()).await?)
}

/// Keeps the tool of this turn: a new one, or in place of the one of that name.
pub(super) async fn keep(
    turn: &mut Turn,
    shared: &Shared,
    keep: KeepTool,
) -> Result<CustomTool, HandlerError> {
    let id = turn.actor().key().to_owned();
    let before = stored(turn, &id).await?;
    let created_ms = before.as_ref().map_or(turn.now_ms(), |before| before.created_ms);
    let tool = CustomTool::new(keep.tool, created_ms).map_err(refused)?;
    let name = &tool.spec.name;
    if tool::id_of(name) != id {
        return Err(invalid("json_schema", format!("the tool {name:?} has another id")));
    }
    if before.is_some() && !keep.replaces || shared.outside.contains_key(name) {
        return Err(HandlerError::app(code::TAKEN, format!("Tool with name {name} already exists")));
    }
    set(turn, &id, &tool);
    Ok(tool)
}

/// Changes the tool of this turn.
pub(super) async fn change(turn: &mut Turn, change: NewTool) -> Result<CustomTool, HandlerError> {
    let id = turn.actor().key().to_owned();
    let tool = stored(turn, &id).await?.ok_or_else(no_tool)?.changed(change).map_err(refused)?;
    set(turn, &id, &tool);
    Ok(tool)
}

/// Deletes the tool of this turn: those who have it lose it.
pub(super) async fn delete(turn: &mut Turn) -> Result<(), HandlerError> {
    let id = turn.actor().key().to_owned();
    stored(turn, &id).await?.ok_or_else(no_tool)?;
    turn.index_clear(rows::INDEX_TOOLS, id.as_bytes());
    Ok(())
}

fn set(turn: &mut Turn, id: &str, tool: &CustomTool) {
    turn.index_set(rows::INDEX_TOOLS, id.as_bytes(), record::encode(tool));
}

fn no_tool() -> HandlerError {
    HandlerError::app(code::NO_TOOL, "Tool not found")
}

/// Those of these names that are tools of source code.
pub(super) async fn among(
    turn: &mut Turn,
    shared: &Shared,
    names: &[String],
) -> Result<BTreeMap<String, CustomTool>, TurnError> {
    let mut found = BTreeMap::new();
    for name in names {
        if BuiltIn::from_name(name).is_none()
            && !shared.outside.contains_key(name)
            && let Some(tool) = stored(turn, &tool::id_of(name)).await?
        {
            found.insert(name.clone(), tool);
        }
    }
    Ok(found)
}
