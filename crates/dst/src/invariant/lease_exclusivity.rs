//! One owner at a time: epochs only grow.

use kelpie_core::ownership::Own;
use kelpie_core::row;

use super::{Commit, actor, read};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for (key, value) in commit.changed("own/") {
        let actor = actor(key)?;
        let before: Option<Own> = read(commit.before(&row::own(&actor)))?;
        let after: Option<Own> = read(value)?;
        let Some(after) = after else { return Err(format!("{actor} has lost its ownership record")) };
        let expected = before.as_ref().map_or(1, |before| before.epoch.0 + 1);
        if after.epoch.0 != expected && before.as_ref() != Some(&after) {
            let before = before.map(|own| own.epoch.0);
            return Err(format!("{actor} goes from epoch {before:?} to {}", after.epoch.0));
        }
    }
    Ok(())
}
