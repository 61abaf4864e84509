//! The contract of the store, tested with both engines; and what only the engine on a disk has to stand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

mod engines;
mod failed_commit;
mod files;
mod full;
mod history;
mod kill;
mod leases;
mod model;
mod random;
mod reads;
mod simulated;
mod snapshots;
mod torn;
mod transactions;
mod watches;

/// Makes a test of each function for each engine.
macro_rules! contract {
    ($($module:ident: $($test:ident)*;)*) => {
        mod sqlite_contract {
            $(mod $module { $(
                #[test]
                fn $test() {
                    crate::$module::$test(&mut crate::engines::Sqlite::new());
                }
            )* })*
        }
        mod simulated_contract {
            $(mod $module { $(
                #[test]
                fn $test() {
                    crate::$module::$test(&mut crate::engines::Simulated::new());
                }
            )* })*
        }
    };
}

contract! {
    reads: pairs_have_their_revisions ranges_are_read_in_pages the_past_can_be_read_until_compaction
        invalid_arguments_are_refused;
    transactions: every_compare_decides all_or_nothing limits_are_checked_before_anything_happens
        nothing_changed_is_no_revision another_transaction_supersedes only_transactions_that_exclude_each_other_supersede
        values_can_be_anything;
    watches: changes_come_in_order_and_together deletions_are_said a_watch_goes_on_from_a_cursor
        gaps_are_said_and_never_skipped the_cursor_moves_over_other_folders a_waiting_watch_is_woken
        a_watch_can_be_closed_by_another_thread a_store_that_is_closed_ends_its_watches a_slow_watch_misses_nothing;
    leases: keys_of_a_lease_that_ends_are_deleted_together a_lease_is_kept_alive a_lease_is_revoked
        a_put_without_the_lease_frees_the_key leases_survive_a_restart_and_their_time_begins_again
        a_lease_that_has_ended_cannot_be_used a_watch_sees_the_end_of_a_lease;
    snapshots: a_restored_store_has_the_same_pairs_in_a_later_epoch a_damaged_snapshot_is_refused
        a_large_store_is_snapshot_at_one_revision revisions_are_not_used_again_after_a_restore;
    random: any_sequence_does_what_the_model_does;
    history: transactions_of_many_threads_happen_one_after_another;
}
