//! A process takes nothing for committed that is not: what an activation stands at is in the store.

use kelpie_core::ownership::Own;
use kelpie_core::row;
use kelpie_registry::Head;

use super::{Held, Memory, read};

pub(super) fn check(memory: &Memory<'_>) -> Result<(), String> {
    let Held { actor, own, seq } = memory.held;
    let (own_row, head_row) = (row::own(actor), row::head(actor));
    // A store that is told of a commit later than its clients are.
    if memory.ledger.may_change(&own_row) || memory.ledger.may_change(&head_row) {
        return Ok(());
    }
    let stored: Option<Own> = read(memory.ledger.rows.get(&own_row))?;
    let head: Option<Head> = read(memory.ledger.rows.get(&head_row))?;
    let (Some(stored), Some(head)) = (stored, head) else {
        return Err(format!("{actor} is in memory under epoch {}, and nobody has claimed it", own.epoch.0));
    };
    if own.epoch > stored.epoch || (*own == stored && *seq > head.seq) {
        return Err(format!(
            "{actor} is in memory at commit {} of epoch {}; the store is at {} of {}",
            seq.0, own.epoch.0, head.seq.0, stored.epoch.0
        ));
    }
    Ok(())
}
