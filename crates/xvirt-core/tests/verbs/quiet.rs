//! Checks in quiet phases, when no call is in progress.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xvirt_core::ErrorKind;
use xvirt_core::vm::{ExitStatistics, PowerState};
use xvirt_testing::process::{Taken, comes_to, threads};

use crate::devices;
use crate::model::Model;
use crate::power;
use crate::process;
use crate::program::Program;
use crate::serving;
use crate::subject::Subject;

/// How long paused guests are watched.
const WATCHED: Duration = Duration::from_millis(50);
/// Enough time on a busy machine for operations that should be immediate.
const PATIENCE: Duration = Duration::from_secs(10);

/// The counters that a paused guest must not change.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    printed: Option<usize>,
    exits: Vec<ExitStatistics>,
    disks: Vec<u64>,
}

/// Pauses all running VMs, and checks everything; then unpauses them.
pub fn check(subjects: &[Arc<Subject>]) {
    subjects.iter().for_each(|subject| power::pause(subject));
    let models: Vec<_> = subjects.iter().map(|subject| subject.settle()).collect();
    check_threads(subjects, &models);
    for (subject, model) in subjects.iter().zip(&models) {
        check_state(subject, model);
    }
    check_paused(subjects, &models);
    let paused = subjects.iter().zip(&models).filter(|(_, model)| model.state == PowerState::Paused);
    paused.take(2).for_each(|(subject, _)| check_full_backlog(subject));
    for (subject, model) in subjects.iter().zip(&models) {
        if model.state == PowerState::Paused {
            power::unpause(subject);
        }
    }
}

/// Halts all VMs, and checks that nothing is left: the process must have the resources in `empty`, if known.
pub fn check_halted(subjects: &[Arc<Subject>], empty: &mut Option<Taken>) {
    for subject in subjects {
        if subject.follow().model().state != PowerState::Halted {
            power::hard_shutdown(subject);
        }
        unplug_all(subject);
        check_state(subject, &subject.settle());
    }
    let expected = empty.get_or_insert_with(Taken::now);
    if let Err(found) = comes_to(expected, process::FAREWELL, Taken::now) {
        let (threads, descriptors) = (threads(), process::descriptors());
        let what =
            format!("all VMs are halted, and there are {found:?}, not {expected:?}: {threads:?} {descriptors:?}");
        subjects[0].bench().findings.report(what);
    }
    for subject in subjects.iter().filter(|subject| subject.rules.program == Program::Serve) {
        if let Err(what) = serving::check(subject) {
            subject.report(&what);
        }
    }
}

/// Unplugs the devices that were plugged in, which a halted VM does immediately.
fn unplug_all(subject: &Subject) {
    let Model { disks, nics, .. } = subject.follow().model().clone();
    disks.keys().skip(2).for_each(|position| devices::unplug_disk(subject, *position, Duration::ZERO));
    nics.iter().for_each(|position| devices::unplug_nic(subject, *position, Duration::ZERO));
    subject.peers.lock().unwrap().clear();
}

/// Checks that there are the vCPU and supervisor threads of machines in memory, and no others.
fn check_threads(subjects: &[Arc<Subject>], models: &[Model]) {
    let in_memory = subjects.iter().zip(models).filter(|(_, model)| model.state != PowerState::Halted);
    let expected = in_memory.fold((0, 0), |(vcpus, supervisors), (subject, _)| {
        (vcpus + subject.rules.program.vcpus() as usize, supervisors + 1)
    });
    let now = || {
        let names = threads();
        let count = |prefix| names.iter().filter(|name| name.starts_with(prefix)).count();
        (count("vcpu"), count("vm-supervisor"))
    };
    if let Err(found) = comes_to(&expected, process::FAREWELL, now) {
        let what = format!("there are {found:?} threads of vCPUs and supervisors, not {expected:?}");
        subjects[0].bench().findings.report(what);
    }
}

fn check_state(subject: &Subject, model: &Model) {
    let (state, disks) = (subject.vm().power_state(), subject.vm().disk_positions());
    if state != model.state {
        subject.report(&format!("it is {state}, and its last event leaves it {}", model.state));
    }
    if !disks.iter().eq(model.disks.keys()) {
        subject.report(&format!("it has disks at {disks:?}, and its events leave it {:?}", model.disks));
    }
    if state == PowerState::Halted {
        subject.check_unlocked();
        if subject.vm().vsock_path().is_some_and(Path::exists) {
            subject.report("it is halted, and its vsock socket is still there");
        }
    }
}

/// Checks that paused guests do nothing.
fn check_paused(subjects: &[Arc<Subject>], models: &[Model]) {
    let paused: Vec<_> = subjects.iter().zip(models).filter(|(_, model)| model.state == PowerState::Paused).collect();
    let mut consoles: Vec<_> = paused.iter().map(|(subject, _)| subject.vm().console().reader_at_end()).collect();
    let mut look = || -> Vec<_> {
        let consoles = consoles.iter_mut().map(|console| console.try_read(&mut [0; 256]));
        consoles.zip(&paused).map(|(printed, (subject, _))| progress(subject, printed)).collect()
    };
    let before = look();
    std::thread::sleep(WATCHED);
    for (((subject, _), before), after) in paused.iter().zip(before).zip(look()) {
        if before != after || after.printed.is_some() {
            subject.report(&format!("it is paused and has gone from {before:?} to {after:?}"));
        }
    }
    // An event would report if it were no longer paused.
    for (subject, _) in paused {
        if subject.settle().state != PowerState::Paused {
            subject.report("it was paused and is not any more, though nobody unpaused it");
        }
    }
}

fn progress(subject: &Subject, printed: Option<usize>) -> Progress {
    let statistics = subject.vm().statistics();
    Progress {
        printed,
        exits: statistics.vcpus.into_iter().map(|vcpu| vcpu.exits).collect(),
        disks: statistics.disks.values().map(|disk| disk.reads.operations + disk.writes.operations).collect(),
    }
}

/// A paused VM accepts no connections: once its backlog is full, the timeout still applies.
fn check_full_backlog(subject: &Subject) {
    // A connection stays in the backlog even after its socket was closed.
    while process::connect_at_once(subject.vm().vsock_path().unwrap()) == Ok(()) {}
    let began = Instant::now();
    let called = subject.call("vsock_connect", |vm| vm.vsock_connect(1000, WATCHED));
    let timely = began.elapsed() < PATIENCE;
    called.judge(|result, _| timely && result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout));
}
