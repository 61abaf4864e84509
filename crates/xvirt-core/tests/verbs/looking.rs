//! Snapshot views of disks, and exports.

use std::sync::atomic::AtomicBool;

use xvirt_core::ErrorKind;
use xvirt_core::disk::BlockBackend;
use xvirt_core::disk::GuestSlice;
use xvirt_core::vm::{PowerState, Verb};
use xvirt_core::xva::{self, Export};

use crate::ledger::Window;
use crate::power;
use crate::random::Random;
use crate::subject::Subject;

pub fn act(subject: &Subject, random: &mut Random) {
    if random.below(3) == 0 { export(subject, random.below(4) == 0) } else { view(subject, random) }
}

/// Views contain the old data of the disks, whatever happens to the VM meanwhile.
fn view(subject: &Subject, random: &mut Random) {
    let mark = subject.holders.mark();
    let mut holder = subject.holders.begin();
    let called = subject.call("snapshot_views", |vm| vm.snapshot_views(subject.folder.path()));
    if called.window.always(is_in_memory) {
        holder.is_of_running();
    }
    let views = called.judge(|result, window| match result {
        Ok(views) => window.ever(|model| model.disks.len() == views.len()),
        Err(error) => documented(error.kind(), window) || full(error.kind(), subject, mark),
    });
    let Some(views) = views else { return };
    let before: Vec<_> = views.iter().map(|view| first(&**view)).collect();
    power::act(subject, random);
    for (number, (view, before)) in views.iter().zip(&before).enumerate() {
        if first(&**view) != *before {
            subject.report(&format!("view {number} of its disks has changed"));
        }
    }
    // Dropped before the holder, which records that they are gone.
    drop(views);
}

fn export(subject: &Subject, cancelled: bool) {
    let mark = subject.holders.mark();
    let _holder = subject.holders.begin();
    let called = subject.call("export_running", |vm| {
        let cancel = AtomicBool::new(cancelled);
        xva::export_running(vm, None, subject.folder.path(), std::io::sink(), &Export::none(), &cancel)
    });
    called.judge(|result, window| match result {
        Ok(exported) => !cancelled && exported.size > 0,
        Err(error) if error.kind() == ErrorKind::Cancelled => cancelled,
        Err(error) => documented(error.kind(), window) || full(error.kind(), subject, mark),
    });
}

fn is_in_memory(model: &crate::model::Model) -> bool {
    model.state != PowerState::Halted
}

fn documented(kind: ErrorKind, window: &Window) -> bool {
    kind == ErrorKind::InvalidState && window.forbids(Verb::Export)
}

/// A disk has no more than four views.
fn full(kind: ErrorKind, subject: &Subject, mark: crate::holders::Mark) -> bool {
    kind == ErrorKind::Busy && subject.holders.may_be_full(mark)
}

/// The beginning of a disk, where guests write first.
fn first(disk: &dyn BlockBackend) -> Vec<u8> {
    let mut bytes = vec![0; 64 << 10];
    disk.read(&[GuestSlice::from(bytes.as_mut_slice())], 0).unwrap();
    bytes
}
