//! A turn commits whole: nothing of an actor changes without its head.

use kelpie_core::row;

use super::{Commit, actor};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for kind in ["state/", "dedup/", "outbox/", "inbox/", "reminder/", "due/"] {
        for (key, value) in commit.changed(kind) {
            let actor = actor(key)?;
            if !commit.changes.contains_key(&row::head(&actor)) {
                let how = if value.is_some() { "is written" } else { "is cleared" };
                return Err(format!("{kind} of {actor} {how} without its head"));
            }
        }
    }
    Ok(())
}
