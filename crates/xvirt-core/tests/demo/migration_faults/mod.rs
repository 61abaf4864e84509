//! Migrations between two real processes, each with a fault before, within or after a message: the guest never runs
//! twice, is never lost without saying so, and goes on with all its memory and disks.
//!
//! Runs `XVIRT_MIGRATION_FAULTS` of the cases, or `all`, which are chosen by `XVIRT_MIGRATION_FAULTS_SEED`. With
//! `XVIRT_MIGRATION_FAULT`, runs the case of this number alone.

mod cases;
mod channel;
mod circle;
mod judge;
mod processes;
mod side;
mod store;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use xvirt_core::migrate::MemoryTransfer;
use xvirt_testing::random::Random;

use crate::host;

/// How many cases of migrations that copy memory run unless the environment says otherwise, and of local hand-overs.
const CASES: usize = 12;
const LOCAL_CASES: usize = 6;
/// How many run at the same time. They often wait.
const THREADS: usize = 4;

/// The numbers of the cases to run, of which there are these.
fn chosen(mut numbers: Vec<usize>, count: usize) -> Vec<usize> {
    let variable = |name| std::env::var(name).ok();
    let number = |name| variable(name).map(|text| text.parse::<usize>().unwrap());
    if let Some(one) = number("XVIRT_MIGRATION_FAULT") {
        numbers.retain(|number| *number == one);
        return numbers;
    }
    if variable("XVIRT_MIGRATION_FAULTS").as_deref() == Some("all") {
        return numbers;
    }
    let seed = number("XVIRT_MIGRATION_FAULTS_SEED").unwrap_or_else(|| getrandom::u32().unwrap() as usize);
    let count = number("XVIRT_MIGRATION_FAULTS").unwrap_or(count);
    println!("XVIRT_MIGRATION_FAULTS={count} XVIRT_MIGRATION_FAULTS_SEED={seed}");
    let mut random = Random::new(seed as u64);
    (0..count.min(numbers.len())).map(|_| numbers.swap_remove(random.below(numbers.len()))).collect()
}

#[test]
fn every_fault_at_every_message_leaves_one_guest_in_two_processes() {
    run(MemoryTransfer::Copy, CASES);
}

#[test]
fn every_fault_of_a_local_hand_over_leaves_one_guest_in_two_processes() {
    run(MemoryTransfer::LocalHandOver, LOCAL_CASES);
}

/// Runs `count` cases of migrations that move memory like this.
fn run(memory: MemoryTransfer, count: usize) {
    let host = host!();
    let cases = cases::cases();
    let numbers = (0..cases.len()).filter(|number| cases[*number].memory == memory);
    let chosen = chosen(numbers.collect(), count);
    let (next, ends) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(number) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(ended) = judge::run(*number, &cases[*number], &host) {
                        *ends.lock().unwrap().entry(ended).or_insert(0) += 1;
                    }
                }
            });
        }
    });
    println!("{} of {} cases: {:?}", chosen.len(), cases.len(), ends.into_inner().unwrap());
}
