//! What went wrong last with each actor, for whoever asks why one does not get on.
//!
//! Kept apart from the activations: a panic and an attempt that has to be repeated end one, and
//! that is when somebody asks.

use std::collections::BTreeMap;

use kelpie_core::id::ActorId;
use parking_lot::Mutex;

use crate::activation::Activation;
use crate::load::describe;

/// Actors whose last error is kept. Beyond that the longest kept goes.
const ACTORS_MAX: usize = 4_096;
/// How much of an error is kept: actors say what they like in theirs.
const TEXT_BYTES_MAX: usize = 1_024;

/// The last errors of a node's actors.
#[derive(Debug, Default)]
pub(crate) struct LastErrors {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_actor: BTreeMap<ActorId, LastError>,
    /// The actors in the order of their errors, by the errors' numbers.
    in_order: BTreeMap<u64, ActorId>,
    noted: u64,
}

#[derive(Debug)]
struct LastError {
    number: u64,
    at_ms: u64,
    text: String,
}

impl LastErrors {
    /// Notes what went wrong, at that wall time, in place of what did before.
    pub(crate) fn note(&self, actor: &ActorId, at_ms: u64, mut text: String) {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        let mut kept = self.kept.lock();
        kept.noted += 1;
        let number = kept.noted;
        if let Some(before) = kept.by_actor.insert(actor.clone(), LastError { number, at_ms, text }) {
            kept.in_order.remove(&before.number);
        }
        kept.in_order.insert(number, actor.clone());
        if kept.in_order.len() > ACTORS_MAX
            && let Some((_, longest_kept)) = kept.in_order.pop_first()
        {
            kept.by_actor.remove(&longest_kept);
        }
    }

    /// When something went wrong last with an actor, and what.
    pub(crate) fn of(&self, actor: &ActorId) -> Option<(u64, String)> {
        let kept = self.kept.lock();
        kept.by_actor.get(actor).map(|error| (error.at_ms, error.text.clone()))
    }
}

impl Activation {
    /// Notes why a turn has ended without a result, or has to be begun again.
    pub(crate) fn went_wrong(&self, error: &dyn std::error::Error) {
        self.went_wrong_with(describe(error));
    }

    pub(crate) fn went_wrong_with(&self, text: String) {
        self.node.last_errors.note(&self.actor, self.node.env.wall_ms(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(number: usize) -> ActorId {
        ActorId::new("default", "counter", &number.to_string()).unwrap()
    }

    #[test]
    fn the_longest_kept_makes_room_and_a_new_error_keeps_its_actor() {
        let errors = LastErrors::default();
        for number in 0..ACTORS_MAX {
            errors.note(&actor(number), 1, "first".to_owned());
        }
        errors.note(&actor(0), 2, "again".to_owned());
        errors.note(&actor(ACTORS_MAX), 3, "one more".to_owned());
        assert_eq!(errors.of(&actor(0)), Some((2, "again".to_owned())));
        assert_eq!(errors.of(&actor(1)), None);
        assert_eq!(errors.of(&actor(2)), Some((1, "first".to_owned())));
        let kept = errors.kept.lock();
        assert_eq!((kept.by_actor.len(), kept.in_order.len()), (ACTORS_MAX, ACTORS_MAX));
    }

    #[test]
    fn a_long_error_is_cut_between_two_characters() {
        let errors = LastErrors::default();
        errors.note(&actor(0), 1, format!("a{}", "ž".repeat(TEXT_BYTES_MAX)));
        assert_eq!(errors.of(&actor(0)).unwrap().1.len(), TEXT_BYTES_MAX - 1);
    }
}
