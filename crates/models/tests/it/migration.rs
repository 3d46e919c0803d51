//! `specs/KelpieMigration.tla`.

use kelpie_models::explore;
use kelpie_models::migration::Moves;

use crate::recorded;

/// The bounds of `KelpieMigration.cfg`.
fn bounds() -> Moves {
    Moves { keys: 2, epoch_max: 4, faults_max: 3, mutant: None }
}

#[test]
fn an_actor_moves_whole_or_not_at_all_and_the_states_are_those_of_the_specification() {
    let explored = explore(bounds());
    assert_eq!(explored.violated, None);
    assert_eq!(explored.states, recorded(include_str!("../../../../specs/KelpieMigration.cfg")));
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_of_the_move_are_caught() {
    crate::caught(&[("migration_activates_before_commit", "MigrationAtomicity")], |mutant| Moves {
        mutant: Some(mutant),
        ..bounds()
    });
}
