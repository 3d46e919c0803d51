//! What an actor owes has a wake entry, so that somebody comes back for it.

use kelpie_core::row;
use kelpie_registry::Head;

use super::{Commit, actor, read};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for (key, value) in commit.changed("head/") {
        let actor = actor(key)?;
        let Some(head): Option<Head> = read(value)? else { continue };
        if head.wake_ms.is_none() && (head.outbox > 0 || head.own_wake_ms.is_some()) {
            return Err(format!("{actor} owes {} messages and has no wake entry", head.outbox));
        }
        let prefix = row::wakes(row::wake_bucket(&actor));
        let mut due: Vec<u64> = commit
            .before
            .range(prefix.clone()..row::after(&prefix))
            .map(|(key, _)| key)
            .chain(commit.changes.keys().filter(|key| key.starts_with(&prefix)))
            .filter(|key| commit.after(key).is_some())
            .filter_map(|key| row::parse_wake(key))
            .filter(|(_, of)| *of == actor)
            .map(|(due, _)| due)
            .collect();
        due.sort_unstable();
        due.dedup();
        if due != Vec::from_iter(head.wake_ms) {
            return Err(format!(
                "{actor} is to be woken at {:?}, its wake entries are {due:?}",
                head.wake_ms
            ));
        }
    }
    Ok(())
}
