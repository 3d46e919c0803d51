//! One reply for each key.

use super::{Commit, actor};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for (key, value) in commit.changed("dedup/") {
        let before = commit.before(&[b"dedup/", key].concat());
        if let (Some(before), Some(after)) = (before, value)
            && before != after
        {
            return Err(format!("{} has a second reply to one key", actor(key)?));
        }
    }
    Ok(())
}
