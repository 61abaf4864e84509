//! The verbs that change the power state.

use std::time::Duration;

use xvirt_core::ErrorKind;
use xvirt_core::vm::{Event, PowerState, Verb, Vm};

use crate::log;
use crate::random::Random;
use crate::subject::Subject;

/// One call of a random verb, with a timeout that many guests meet and some do not.
pub fn act(subject: &Subject, random: &mut Random) {
    match random.below(16) {
        0..5 => start(subject),
        5..8 => pause(subject),
        8..11 => unpause(subject),
        11 => hard_shutdown(subject),
        12 => hard_reboot(subject),
        13 => clean_shutdown(subject, patience(random)),
        14 => clean_reboot(subject, patience(random)),
        _ => wait_halted(subject, patience(random)),
    }
}

/// A timeout: none, short, or sufficient.
fn patience(random: &mut Random) -> Duration {
    Duration::from_millis(*random.pick(&[0, 1, 20, 500]))
}

pub fn start(subject: &Subject) {
    let holders = subject.holders.mark();
    let called = subject.call("start", Vm::start).announced(&Event::Started);
    let panicked = called.result.as_ref().is_err_and(|error| error.to_string().contains(log::MESSAGE));
    called.judge_verb(Verb::Start, |kind, _| {
        // A view of a halted VM keeps its disks locked.
        panicked || kind == ErrorKind::Busy && subject.holders.may_lock(holders)
    });
    if panicked {
        subject.follow().could_not_begin();
    }
}

pub fn pause(subject: &Subject) {
    subject.call("pause", Vm::pause).announced(&Event::Paused).judge_verb(Verb::Pause, |_, _| false);
}

pub fn unpause(subject: &Subject) {
    subject.call("unpause", Vm::unpause).announced(&Event::Unpaused).judge_verb(Verb::Unpause, |_, _| false);
}

pub fn hard_shutdown(subject: &Subject) {
    let called = subject.call("hard_shutdown", Vm::hard_shutdown);
    called.announced(&Event::HardShutdown).judge_verb(Verb::HardShutdown, |_, _| false);
}

fn hard_reboot(subject: &Subject) {
    let called = subject.call("hard_reboot", Vm::hard_reboot);
    called.announced(&Event::HardReset).judge_verb(Verb::HardReboot, |_, _| false);
}

fn clean_shutdown(subject: &Subject, timeout: Duration) {
    subject.follow().shutdown_begins();
    let called = subject.call("clean_shutdown", |vm| vm.clean_shutdown(timeout));
    subject.follow().shutdown_ends();
    called.judge(|result, window| match result {
        Ok(()) => window.allows(Verb::CleanShutdown) && window.events.contains(&Event::GuestShutdown),
        Err(error) => match error.kind() {
            ErrorKind::InvalidState => window.forbids(Verb::CleanShutdown),
            ErrorKind::Timeout => window.allows(Verb::CleanShutdown),
            ErrorKind::GuestFault => window.events.iter().any(is_crash),
            _ => false,
        },
    });
}

fn clean_reboot(subject: &Subject, timeout: Duration) {
    let called = subject.call("clean_reboot", |vm| vm.clean_reboot(timeout));
    called.judge(|result, window| match result {
        Ok(()) => window.allows(Verb::CleanReboot) && window.events.contains(&Event::GuestReset),
        Err(error) => match error.kind() {
            ErrorKind::InvalidState => window.forbids(Verb::CleanReboot) || window.events.contains(&Event::HardReset),
            ErrorKind::Timeout => window.allows(Verb::CleanReboot),
            ErrorKind::GuestFault => window.events.iter().any(is_crash),
            _ => false,
        },
    });
}

fn is_crash(event: &Event) -> bool {
    matches!(event, Event::Crashed(_))
}

fn wait_halted(subject: &Subject, timeout: Duration) {
    let called = subject.call("wait_halted", |vm| vm.wait_halted(timeout));
    called.judge(|result, window| match result {
        Ok(()) => window.ever(|model| model.state == PowerState::Halted),
        Err(error) => error.kind() == ErrorKind::Timeout && window.ever(|model| model.state != PowerState::Halted),
    });
}
