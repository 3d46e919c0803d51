//! A commit is in the log once: with none on its way, the last one that was acknowledged is the
//! last one there is.

use super::Look;

pub(super) fn check(look: &Look<'_>) -> Result<(), String> {
    match look.acknowledged.filter(|last| look.quiet && !look.opened && *last < look.now.version) {
        Some(last) => Err(format!("commit {last} is the last; the log goes on to {}", look.now.version)),
        None => Ok(()),
    }
}
