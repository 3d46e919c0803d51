//! One reply for each key.

use super::{Commit, actor};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for kind in ["dedup/", "inbox/"] {
        for (key, value) in commit.changed(kind) {
            let before = commit.before(&[kind.as_bytes(), key].concat());
            if let (Some(before), Some(after)) = (before, value)
                && before != after
            {
                return Err(format!("{} has a second reply to one key", actor(key)?));
            }
        }
    }
    Ok(())
}
