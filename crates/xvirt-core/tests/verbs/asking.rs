//! Queries: each result must match the state of the VM at some moment.

use std::collections::BTreeSet;

use xvirt_core::vm::{PowerState, Statistics, Vm};

use crate::model::Model;
use crate::random::Random;
use crate::subject::Subject;

/// The maximum length of a VM's description, whatever its output and memory.
const MAX_DEBUG: usize = 64 << 10;

pub fn act(subject: &Subject, random: &mut Random) {
    match random.below(6) {
        0 => ask(subject, "power_state", |vm| vm.power_state(), |state, model| *state == model.state),
        1 => ask(subject, "statistics", |vm| vm.statistics(), |statistics, model| fits(subject, statistics, model)),
        2 => ask(
            subject,
            "nics",
            |vm| vm.nics().iter().map(|nic| nic.position).collect::<BTreeSet<_>>(),
            |nics, model| *nics == if is_halted(model) { BTreeSet::new() } else { model.nics.clone() },
        ),
        3 => ask(
            subject,
            "disks",
            |vm| vm.disks().iter().map(|disk| disk.position).collect::<Vec<_>>(),
            |disks, model| *disks == if is_halted(model) { Vec::new() } else { positions(model) },
        ),
        4 => ask(subject, "disk_positions", |vm| vm.disk_positions(), |disks, model| *disks == positions(model)),
        _ => {
            let length = |vm: &Vm| format!("{vm:?}").len();
            ask(subject, "{:?}", length, |length, _| *length <= MAX_DEBUG);
        }
    }
}

/// The result of `call` must match the state of the VM at some moment.
fn ask<T: std::fmt::Debug>(
    subject: &Subject,
    what: &'static str,
    call: impl FnOnce(&Vm) -> T,
    fits: impl Fn(&T, &Model) -> bool,
) {
    let mut answer = None;
    let mut called = subject.call(what, |vm| {
        answer = Some(call(vm));
        Ok(())
    });
    if !called.comes_true(|window| window.ever(|model| answer.as_ref().is_some_and(|answer| fits(answer, model)))) {
        subject.report(&format!("{what} gave {answer:?}; meanwhile {:?}", called.window));
    }
}

fn fits(subject: &Subject, statistics: &Statistics, model: &Model) -> bool {
    if is_halted(model) {
        return *statistics == Statistics::default();
    }
    statistics.vcpus.len() == subject.rules.program.vcpus() as usize
        && statistics.memory.is_some()
        && statistics.disks.keys().copied().eq(model.disks.keys().copied())
        && statistics.nics.keys().copied().eq(model.nics.iter().copied())
}

fn is_halted(model: &Model) -> bool {
    model.state == PowerState::Halted
}

fn positions(model: &Model) -> Vec<usize> {
    model.disks.keys().copied().collect()
}
