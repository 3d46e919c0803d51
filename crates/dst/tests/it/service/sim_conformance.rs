//! The conformance suite over the service, calm and rough.

use super::conformance::{
    age, atomicity, atomics, conflict_ranges, durability, exports, histories, isolation, limits, model,
    own_writes, ranges, runs, versionstamps, watches,
};
use super::world::{Target, Trouble, asked};

macro_rules! on {
    ($name:ident, $embedded:literal, $trouble:ident, $($concern:ident :: $property:ident)*) => {
        mod $name {
            use super::*;

            $(#[test]
            fn $property() {
                asked(Target { embedded: $embedded, trouble: Trouble::$trouble }, $concern::$property);
            })*
        }
    };
}

/// The suite of all stores.
const SUITE: &str = include_str!("../../../../storage/tests/it/conformance.rs");

macro_rules! properties {
    ($($concern:ident :: $property:ident)*) => {
        #[test]
        fn every_property_of_the_suite_is_asked_of_the_service() {
            let asked = [$(concat!(stringify!($concern), "::", stringify!($property))),*];
            let lines = SUITE.lines().skip_while(|line| *line != "properties! {").skip(1);
            let suite: Vec<&str> = lines.take_while(|line| *line != "}").map(str::trim).collect();
            assert_eq!(asked[..], suite[..]);
        }

        on! { memory, false, Nothing, $($concern::$property)* }
        on! { memory_rough, false, Rough, $($concern::$property)* }
        on! { embedded_rough, true, Rough, $($concern::$property)* }
    };
}

properties! {
    own_writes::a_transaction_reads_its_own_writes
    own_writes::a_range_shows_what_the_transaction_has_written
    ranges::ranges_merge_what_is_folded_what_is_recent_and_what_is_unwritten
    ranges::a_page_of_large_values_ends_early_and_goes_on
    ranges::an_empty_range_holds_nothing
    atomicity::a_commit_is_seen_whole_or_not_at_all
    atomicity::nothing_is_left_of_what_was_not_committed
    isolation::write_skew_is_refused
    isolation::a_lost_update_is_refused
    isolation::phantoms_are_refused
    isolation::phantoms_behind_a_cleared_range_are_refused
    isolation::no_reader_sees_the_read_only_anomaly
    isolation::no_two_readers_see_a_long_fork
    isolation::a_reader_that_starts_during_a_commit_loses_no_update
    isolation::what_was_acknowledged_is_seen_by_all_who_begin_later
    isolation::snapshot_reads_stay_at_one_version_and_do_not_conflict
    atomics::atomic_operations_change_what_is_stored
    atomics::concurrent_additions_never_conflict_and_all_count
    versionstamps::versionstamps_grow_in_the_order_of_commits
    versionstamps::a_feed_never_grows_behind_its_reader
    watches::a_watch_completes_after_a_change
    watches::every_kind_of_write_completes_a_watch
    watches::no_wake_up_is_lost
    watches::a_watch_sees_what_another_client_changes
    conflict_ranges::explicit_read_ranges_conflict_as_reads_do
    conflict_ranges::explicit_write_ranges_conflict_as_writes_do
    limits::what_is_too_large_is_refused_before_anything_is_sent
    limits::what_is_just_small_enough_is_kept
    runs::unknown_outcomes_are_settled_exactly_once
    runs::a_run_ends_at_its_bound_and_says_so
    runs::a_run_that_is_refused_leaves_nothing
    age::a_transaction_of_more_than_five_seconds_is_too_old
    age::an_old_snapshot_stays_as_it_was
    durability::what_was_acknowledged_is_there_after_reopening
    exports::an_export_is_of_one_version_or_refused
    exports::an_import_fills_an_empty_store_or_is_refused
    histories::concurrent_histories_are_strictly_serializable
    histories::histories_with_lost_answers_are_strictly_serializable
    histories::tiny_histories_have_an_order
    model::random_operations_do_what_the_model_does
}
