//! The commits of an actor form a chain.

use kelpie_core::row;
use kelpie_registry::Head;

use super::{Commit, actor, read};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for (key, value) in commit.changed("head/") {
        let actor = actor(key)?;
        let before: Option<Head> = read(commit.before(&row::head(&actor)))?;
        let after: Option<Head> = read(value)?;
        let Some(after) = after else { return Err(format!("the head of {actor} is gone")) };
        let expected = match &before {
            // Made by the first claim, before any commit.
            None => 0,
            Some(before) if after.running != before.running && after.seq == before.seq => before.seq.0,
            Some(before) => before.seq.0 + 1,
        };
        if after.seq.0 != expected {
            let before = before.map(|head| head.seq.0);
            return Err(format!("{actor} goes from commit {before:?} to {}", after.seq.0));
        }
    }
    Ok(())
}
