//! A claim names a live session.

use kelpie_core::ownership::Own;
use kelpie_core::row;
use kelpie_core::session::Session;

use super::{Commit, actor, read};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for (key, value) in commit.changed("own/") {
        let actor = actor(key)?;
        let before: Option<Own> = read(commit.before(&row::own(&actor)))?;
        let Some(after): Option<Own> = read(value)? else { continue };
        let same = before.is_some_and(|before| {
            (before.node.as_str(), before.incarnation, before.boot)
                == (after.node.as_str(), after.incarnation, after.boot)
        });
        // An owner that settles a commit of its own claims nothing.
        if same {
            continue;
        }
        let session: Option<Session> = read(commit.after(&row::session(&after.node)))?;
        let live = session.as_ref().is_some_and(|session| {
            session.is_live() && session.incarnation == after.incarnation && session.boot == after.boot
        });
        if !live {
            return Err(format!("{actor} is claimed for {after:?}, whose session is {session:?}"));
        }
    }
    Ok(())
}
