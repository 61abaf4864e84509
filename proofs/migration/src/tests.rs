//! Explores the model, and shows that mistakes are found.

use stateright::{Checker, Model};

use crate::model::Handover;

/// Explores every state and requires all properties.
fn holds(handover: Handover) {
    let checker = handover.checker().spawn_bfs().join();
    println!("{handover:?}: {} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Requires that a property does not hold, and prints how.
fn finds(handover: Handover, property: &'static str) {
    let checker = handover.checker().spawn_bfs().join();
    let path = checker.discovery(property).unwrap_or_else(|| panic!("no way to break '{property}' was found"));
    println!("'{property}' breaks after {:?}", path.into_actions());
}

#[test]
fn the_two_sides_alone_never_double_or_lose_a_vm() {
    for without_locks in [false, true] {
        holds(Handover { without_locks, ..Handover::default() });
    }
}

#[test]
fn a_store_that_answers_late_or_never_neither_doubles_nor_loses_a_vm() {
    for without_locks in [false, true] {
        holds(Handover { store: true, without_locks, ..Handover::default() });
    }
}

#[test]
fn disks_that_are_released_after_the_commit_are_found() {
    for store in [false, true] {
        finds(Handover { store, releases_after_commit: true, ..Handover::default() }, "whoever runs holds the disks");
    }
}

#[test]
fn a_source_that_resumes_late_is_found() {
    for store in [false, true] {
        let mistake = Handover { store, resumes_late: true, ..Handover::default() };
        finds(mistake, "a guest that runs at the target is not reported as stopped");
        finds(mistake, "a guest that ran at the target never runs at the source again");
        finds(Handover { without_locks: true, ..mistake }, "at most one copy runs");
    }
}

#[test]
fn a_target_that_runs_unasked_is_found() {
    let mistake = Handover { runs_unasked: true, ..Handover::default() };
    finds(mistake, "a guest that runs at the target is not reported as stopped");
    finds(Handover { without_locks: true, ..mistake }, "at most one copy runs");
}
