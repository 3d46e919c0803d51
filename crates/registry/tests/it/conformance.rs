//! What the registry does in a store, told once and asked of every backend.
//!
//! ```text
//!   properties! ──▶ sim_memory      a simulated world, several seeds
//!               ├─▶ sim_embedded    the same with a simulated disk
//!               ├─▶ embedded_real   threads and a directory of this machine
//!               └─▶ postgres        a schema of its own on a real server, a client per node
//! ```
//!
//! Each function of the registry is one conditional transaction: its properties are what it
//! writes, what it refuses, and that of several at once one wins. The table of
//! `docs/guide/stores.md` is the list below, checked by [`table`].

#![expect(clippy::cognitive_complexity, reason = "a property asks one thing after the other")]

mod claims;
mod deaths;
mod moves;
mod sessions;
mod table;
mod world;

use world::Target;

macro_rules! on {
    ($backend:ident, $target:ident, $run:ident, $($concern:ident :: $name:ident)*) => {
        mod $backend {
            $(#[test]
            fn $name() {
                super::world::$run(super::Target::$target, super::$concern::$name);
            })*
        }
    };
}

macro_rules! properties {
    ($($function:literal $($concern:ident :: $name:ident)*)*) => {
        /// Each property with the function that it is of, in the order of the table.
        const PROPERTIES: &[(&str, &str)] = &[$($(($function, stringify!($name)),)*)*];

        on! { sim_memory, SimMemory, in_simulation, $($($concern::$name)*)* }
        on! { sim_embedded, SimEmbedded, in_simulation, $($($concern::$name)*)* }
        on! { embedded_real, EmbeddedReal, for_real, $($($concern::$name)*)* }
        on! { postgres, Postgres, for_real, $($($concern::$name)*)* }
    };
}

properties! {
    "join"
    sessions::a_node_joins_with_a_session_and_a_lease
    sessions::of_many_that_want_one_name_one_has_it
    sessions::a_name_that_is_lived_under_is_refused_or_taken_with_its_directory
    "renew"
    sessions::a_renewal_counts_on_and_says_the_load
    sessions::a_process_whose_name_another_one_has_stops
    sessions::a_process_that_was_declared_dead_goes_on_as_its_next_life
    "declare dead"
    deaths::only_the_beat_that_was_watched_is_declared_dead
    deaths::of_many_that_declare_a_node_dead_one_does
    deaths::a_node_that_was_killed_is_declared_dead_and_its_actors_are_free
    "claim"
    claims::a_claim_is_written_once
    claims::a_live_owner_is_followed_and_an_ended_one_succeeded
    claims::who_may_not_claim_claims_nothing
    claims::of_two_nodes_that_claim_one_actor_at_once_one_wins
    claims::an_owner_out_of_reach_is_claimed_over_as_it_was_known
    claims::an_unknown_outcome_is_settled_by_the_owner_alone
    "capacity"
    claims::a_node_claims_as_many_as_it_has_room_for
    "leave"
    sessions::what_a_node_had_that_left_is_free
    sessions::an_evicted_process_stops_and_what_it_had_is_free
    "drain"
    sessions::a_node_that_drains_keeps_what_it_has_and_claims_nothing
    moves::a_claim_and_the_order_to_drain_come_one_after_the_other
    "migrate"
    moves::an_actor_is_given_to_an_active_node_and_by_its_owner_alone
    moves::of_two_that_give_one_actor_away_at_once_one_does
    "list by node"
    moves::the_actors_of_a_node_are_listed_in_pages
    moves::an_actor_stands_in_the_list_of_one_life_alone
}

#[cfg(feature = "mutants")]
#[test]
fn sim_mutant_entries_stay_behind() {
    let _armed = kelpie_core::mutant::arm("entries_stay_behind");
    let asked =
        || world::in_simulation(Target::SimMemory, moves::an_actor_stands_in_the_list_of_one_life_alone);
    std::panic::catch_unwind(asked).unwrap_err();
}
