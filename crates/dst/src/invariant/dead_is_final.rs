//! An incarnation that has ended stays so.

use kelpie_core::session::{Session, SessionState};

use super::{Commit, read};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for (key, value) in commit.changed("node/").filter(|(key, _)| key.ends_with(b"\0session")) {
        let node = key.split(|byte| *byte == 0).next().unwrap_or_default().escape_ascii().to_string();
        let before: Option<Session> = read(commit.before(&[b"node/", key].concat()))?;
        let after: Option<Session> = read(value)?;
        let Some(after) = after else { return Err(format!("the session of {node} is gone")) };
        let Some(before) = before else { continue };
        let allowed = if after.incarnation == before.incarnation {
            after.boot == before.boot && stage(after.state) >= stage(before.state)
        } else {
            after.incarnation.0 == before.incarnation.0 + 1 && after.is_live()
        };
        if !allowed {
            return Err(format!("{node} goes from {before:?} to {after:?}"));
        }
    }
    Ok(())
}

fn stage(state: SessionState) -> u8 {
    match state {
        SessionState::Active => 0,
        SessionState::Draining => 1,
        SessionState::Left | SessionState::Dead | SessionState::Evicted => 2,
    }
}
