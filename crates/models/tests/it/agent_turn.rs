//! `specs/KelpieAgentTurn.tla`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use kelpie_models::agent_turn::{AgentTurn, Kind};
use kelpie_models::explore;

use crate::recorded;

/// The bounds of `KelpieAgentTurn.cfg`.
fn bounds() -> AgentTurn {
    AgentTurn {
        steps_max: 2,
        answers: &[
            &[],
            &[Kind::Done],
            &[Kind::Idempotent, Kind::Plain],
            &[Kind::Plain, Kind::Asks],
            &[Kind::Plain, Kind::Pauses],
            &[Kind::Pauses, Kind::Asks],
            &[Kind::AsksIdempotent],
        ],
        faults_max: 2,
        mutant: None,
        seen: Arc::new(Mutex::new(HashSet::new())),
    }
}

#[test]
fn a_run_keeps_its_history_whole_and_the_states_are_those_of_the_specification() {
    let model = bounds();
    let seen = model.seen.clone();
    let explored = explore(model);
    assert_eq!(explored.violated, None);
    let counted = seen.lock().expect("nobody panicked with the lock").len();
    assert_eq!(counted, recorded(include_str!("../../../../specs/KelpieAgentTurn.cfg")));
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_of_the_run_are_caught() {
    let bugs = [
        ("run_approval_not_asked_for", "ApprovedOnly"),
        ("run_approval_never_expires", "OwedWake"),
        ("run_pause_forgotten", "OwedWake"),
        ("run_wake_cleared_early", "OwedWake"),
        ("run_late_result_accepted", "NoOrphanCall"),
        ("run_orphan_call_at_cancel", "NoOrphanCall"),
    ];
    crate::caught(&bugs, |mutant| AgentTurn { mutant: Some(mutant), ..bounds() });
}
