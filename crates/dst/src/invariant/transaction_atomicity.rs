//! A turn commits whole: nothing of an actor changes without its head, and what its head says of its
//! messages is there.

use std::collections::BTreeSet;

use kelpie_core::row;
use kelpie_registry::Head;

use super::{Commit, actor, read};

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
    for (key, value) in commit.changed("head/") {
        let actor = actor(key)?;
        let Some(Head { outbox, .. }) = read(value)? else { continue };
        let prefix = row::outboxes(&actor);
        let before = commit.before.range(prefix.clone()..row::after(&prefix)).map(|(key, _)| key);
        let changed = commit.changes.range(prefix.clone()..row::after(&prefix)).map(|(key, _)| key);
        let messages: BTreeSet<_> = before.chain(changed).filter(|key| commit.after(key).is_some()).collect();
        if messages.len() as u64 != u64::from(outbox) {
            return Err(format!("{actor} owes {outbox} messages, and {} are there", messages.len()));
        }
    }
    Ok(())
}
