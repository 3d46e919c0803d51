//! A checkpoint is the old one or the new one, with all that it stands for, and never an older one.

use super::Look;

pub(super) fn check(look: &Look<'_>) -> Result<(), String> {
    let (now, seen) = (look.now, look.seen);
    if now.position < seen.position {
        return Err(format!("the checkpoint goes from {} back to {}", seen.position, now.position));
    }
    if now.position > now.version {
        return Err(format!("the checkpoint at {} is beyond {}", now.position, now.version));
    }
    match look.differs.filter(|differs| differs.written <= now.position) {
        Some(differs) => Err(look.told(differs)),
        None => Ok(()),
    }
}
