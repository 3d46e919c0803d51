//! A node that has left has nothing in flight: no turn of its actors commits any more.

use kelpie_core::ownership::Own;
use kelpie_core::row;
use kelpie_core::session::{Session, SessionState};

use super::{Commit, actor, read};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for (key, _) in commit.changed("head/") {
        let actor = actor(key)?;
        let Some(own): Option<Own> = read(commit.after(&row::own(&actor)))? else { continue };
        let session: Option<Session> = read(commit.before(&row::session(&own.node)))?;
        let left = session.is_some_and(|session| {
            session.incarnation == own.incarnation && session.state == SessionState::Left
        });
        if left {
            return Err(format!("{actor} changes under {own:?}, which has left"));
        }
    }
    Ok(())
}
