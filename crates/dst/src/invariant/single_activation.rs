//! At most one activation of an actor can commit: that of the node that `own` names.

use kelpie_core::ownership::Own;
use kelpie_core::row;

use super::{Commit, actor, read};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for (key, _) in commit.changed("head/") {
        let actor = actor(key)?;
        let own: Option<Own> = read(commit.after(&row::own(&actor)))?;
        let Some(own) = own else { return Err(format!("{actor} is committed to and has no owner")) };
        if commit.by != Some(own.node.as_str()) {
            return Err(format!("{actor} belongs to {}, epoch {}", own.node.as_str(), own.epoch.0));
        }
    }
    Ok(())
}
