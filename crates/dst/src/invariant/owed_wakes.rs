//! What an actor owes has a wake entry, so that somebody comes back for it.

use kelpie_core::id::ActorId;
use kelpie_core::row;
use kelpie_registry::Head;

use super::{Commit, actor, read};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for (key, value) in commit.changed("head/") {
        let actor = actor(key)?;
        let Some(head): Option<Head> = read(value)? else { continue };
        let owes = head.outbox > 0 || head.own_wake_ms.is_some() || head.reminder_ms.is_some();
        if head.wake_ms.is_none() && owes {
            return Err(format!("{actor} owes {} messages and has no wake entry", head.outbox));
        }
        if head.reminder_ms.is_some_and(|due_ms| head.wake_ms.is_none_or(|wake_ms| wake_ms > due_ms)) {
            return Err(format!("{actor} has a reminder before its wake entry"));
        }
        let first = first_reminder(commit, &actor);
        if first != head.reminder_ms {
            return Err(format!(
                "{actor} believes that its first reminder is due at {:?}, it is at {first:?}",
                head.reminder_ms
            ));
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

/// When the first of an actor's reminders is due, after the commit.
fn first_reminder(commit: &Commit<'_>, actor: &ActorId) -> Option<u64> {
    let prefix = row::dues(actor);
    commit
        .before
        .range(prefix.clone()..row::after(&prefix))
        .map(|(key, _)| key)
        .chain(commit.changes.keys().filter(|key| key.starts_with(&prefix)))
        .filter(|key| commit.after(key).is_some())
        .filter_map(|key| row::parse_due(&key[prefix.len()..]))
        .map(|(due_ms, _)| due_ms)
        .min()
}
