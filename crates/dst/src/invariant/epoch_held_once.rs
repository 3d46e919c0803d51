//! An epoch stands for one activation: no two processes have an actor in memory under the same.

use super::{Held, Memory};

pub(super) fn check(memory: &Memory<'_>) -> Result<(), String> {
    let Held { actor, own, .. } = memory.held;
    match memory.others().find(|(_, other)| other.actor == *actor && other.own.epoch == own.epoch) {
        Some((machine, other)) => Err(format!(
            "{actor} is in memory under epoch {} for {own:?}, and on {machine} for {:?}",
            own.epoch.0, other.own
        )),
        None => Ok(()),
    }
}
