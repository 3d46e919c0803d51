//! A store that was opened holds all that its log does: the commits up to the last one in it,
//! each whole, and no other.

use super::Look;

pub(super) fn check(look: &Look<'_>) -> Result<(), String> {
    if let Some(refused) = look.refused {
        return Err(format!("the store refuses what it has written: {refused}"));
    }
    match look.differs.filter(|differs| differs.written > look.now.position) {
        Some(differs) => Err(look.told(differs)),
        None => Ok(()),
    }
}
