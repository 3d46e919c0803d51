//! What was acknowledged survives.

use super::Look;

pub(super) fn check(look: &Look<'_>) -> Result<(), String> {
    match look.acknowledged.filter(|acknowledged| *acknowledged > look.now.version) {
        Some(lost) => Err(format!("commit {lost} was acknowledged; the store ends at {}", look.now.version)),
        None => Ok(()),
    }
}
