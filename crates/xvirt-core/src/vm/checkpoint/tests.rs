//! Checkpoints that fail or end early, of a guest that goes on.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::super::state::Verb;
use super::*;
use crate::config::{Boot, ByteSize, VmConfig};
use crate::demo::{self, CommandLine, Mode};
use crate::host::Host;

const PATIENCE: Duration = Duration::from_secs(60);

/// A VM whose guest writes its memory all the time.
fn running(folder: &Path) -> Option<Vm> {
    let host = Host::probe().unwrap();
    if let Err(error) = host.require_kvm() {
        println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
        return None;
    }
    let kernel = folder.join("kernel");
    std::fs::write(&kernel, demo::kernel()).unwrap();
    let line = CommandLine::new([Mode::Smp, Mode::Counter]).pages(500);
    let boot = Boot::kernel(kernel).command_line(line.to_string());
    let vm = VmConfig::new("demo").memory(ByteSize::mib(32)).vcpus(2).boot(boot).build(&host).unwrap();
    vm.start().unwrap();
    goes_on(&vm);
    Some(vm)
}

fn goes_on(vm: &Vm) {
    let mut console = vm.console().reader_at_end();
    (0..2).for_each(|_| drop(console.wait_for("pass", PATIENCE).unwrap()));
}

/// The guest goes on at once when a checkpoint ends early, and its writes are no longer logged.
#[test]
fn a_guest_that_waits_goes_on_when_a_checkpoint_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    let Some(vm) = running(folder.path()) else { return };
    let operation = vm.begin_long(Verb::Checkpoint).unwrap();
    let (file, extent) = (tempfile::tempfile().unwrap(), Extent::FirstOfMany("it is the first".to_owned()));
    let mut saving = vm.begin_saving(&operation, file, CheckpointMethod::Protect, extent, &()).unwrap();
    let stopped = vm.stop_guest(&operation).unwrap();
    saving.stop(&stopped, &()).unwrap();
    let Way::Protect(save) = &saving.way else { panic!("another method") };
    let waiting = save.let_all_writers_wait();
    drop(stopped);
    while !waiting.is_somebody_there() {
        std::thread::yield_now();
    }
    std::thread::scope(|scope| {
        let (end, ended) = mpsc::channel();
        scope.spawn(move || {
            drop(saving);
            end.send(()).unwrap();
        });
        let ended = ended.recv_timeout(PATIENCE);
        waiting.end();
        ended.expect("the checkpoint does not end before its guest goes on");
    });
    goes_on(&vm);
    vm.inner.machine().unwrap().dirty_log().expect("the log has ended");
}

#[test]
fn an_incremental_checkpoint_without_tracked_writes_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let Some(vm) = running(folder.path()) else { return };
    let operation = vm.begin_long(Verb::Checkpoint).unwrap();
    for method in [CheckpointMethod::Protect, CheckpointMethod::Rounds, CheckpointMethod::Stop] {
        let file = tempfile::tempfile().unwrap();
        let Err(error) = vm.begin_saving(&operation, file, method, Extent::Incremental, &()) else {
            panic!("{method:?} saves what nobody has tracked");
        };
        assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
        goes_on(&vm);
    }
}
