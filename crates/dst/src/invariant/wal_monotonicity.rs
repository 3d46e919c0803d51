//! Versions only grow, within a life of the store and over its lives: what was visible stays.

use super::Look;

pub(super) fn check(look: &Look<'_>) -> Result<(), String> {
    if look.seen.version > look.now.version {
        return Err(format!(
            "version {} was visible; now {} is the last",
            look.seen.version, look.now.version
        ));
    }
    match look.numbers {
        Some((before, next)) if next <= before => Err(format!("commit {next} comes after commit {before}")),
        Some(_) | None => Ok(()),
    }
}
