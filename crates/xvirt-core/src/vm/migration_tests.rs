//! Hands a VM over within one process, step by step, without a protocol.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use vm_memory::{Bytes, GuestMemoryBackend, GuestMemoryRegion};

use super::incoming::{ArrivingVm, Incoming};
use super::outgoing::Outgoing;
use super::state::Verb;
use super::{HaltCause, PowerState, Vm};
use crate::ErrorKind;
use crate::config::{Boot, ByteSize, Disk, VmConfig};
use crate::console::ConsoleReader;
use crate::demo::{self, CommandLine, Mode};
use crate::disk::{self, Access, ImageFormat};
use crate::host::Host;
use crate::memory::testing::copy_pages;

const PATIENCE: Duration = Duration::from_secs(60);

fn host() -> Option<Host> {
    let host = Host::probe().unwrap();
    if let Err(error) = host.require_kvm() {
        println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
        return None;
    }
    Some(host)
}

/// A VM whose guest checks its memory and two disks continuously, and its console.
fn running(folder: &Path, host: &Host) -> (Vm, ConsoleReader) {
    let line = CommandLine::new([Mode::Smp, Mode::Counter, Mode::BlkLoad]).pages(500).blocks(16).every(1);
    let (raw, qcow2) = (folder.join("disk.raw"), folder.join("disk.qcow2"));
    disk::create(&raw, ImageFormat::Raw, 4 << 20).unwrap();
    disk::create(&qcow2, ImageFormat::Qcow2, 4 << 20).unwrap();
    let kernel = folder.join("kernel");
    std::fs::write(&kernel, demo::kernel()).unwrap();
    let vm = VmConfig::new("demo")
        .memory(ByteSize::mib(32))
        .vcpus(2)
        .boot(Boot::kernel(kernel).command_line(line.to_string()))
        .disk(Disk::raw(raw))
        .disk(Disk::open(qcow2).unwrap())
        .build(host)
        .unwrap();
    vm.start().unwrap();
    let mut console = vm.console().reader();
    goes_on(&mut console);
    (vm, console)
}

fn goes_on(console: &mut ConsoleReader) {
    for _ in 0..2 {
        console.wait_for("blk 1: round", PATIENCE).unwrap();
        let text = console.wait_for("pass", PATIENCE).unwrap();
        assert!(!text.contains("failed") && !text.contains("expected"), "{text}");
    }
}

fn arriving(outgoing: &Outgoing<'_>) -> ArrivingVm {
    let (config, requirements) = outgoing.offer().unwrap();
    ArrivingVm::decode(&requirements, &config).unwrap()
}

/// Copies the pages that were written, and returns how many.
fn copy_dirty(from: &Outgoing<'_>, to: &Incoming) -> usize {
    copy_pages(from.memory(), to.memory(), &from.take_dirty().unwrap())
}

/// Copies the memory of a VM that runs, stops it, and hands its disks and the rest of its state over.
fn handed_over<'a>(vm: &'a Vm, host: &Host) -> (Outgoing<'a>, Incoming) {
    let mut outgoing = vm.begin_migration().unwrap();
    let arriving = arriving(&outgoing);
    assert_eq!((arriving.uuid(), arriving.name()), (vm.uuid(), "demo"));
    let mut incoming = Incoming::new(&arriving, arriving.config().unwrap().clone(), host, None).unwrap();
    outgoing.start_dirty_log().unwrap();
    for region in outgoing.memory().iter() {
        let mut bytes = vec![0; region.len() as usize];
        outgoing.memory().read_slice(&mut bytes, region.start_addr()).unwrap();
        incoming.memory().write_slice(&bytes, region.start_addr()).unwrap();
    }
    for percent in [0, 50, 90] {
        outgoing.throttle(percent).unwrap();
        vm.console().reader_at_end().wait_for("pass", PATIENCE).unwrap();
        assert!(copy_dirty(&outgoing, &incoming) > 0);
    }
    // The disks are still in use.
    assert_eq!(incoming.prepare(&[]).unwrap_err().kind(), ErrorKind::CorruptState);
    outgoing.park().unwrap();
    copy_dirty(&outgoing, &incoming);
    let state = outgoing.release().unwrap();
    copy_dirty(&outgoing, &incoming);
    incoming.prepare(&state).unwrap();
    (outgoing, incoming)
}

fn rig() -> Option<(TempDir, Host)> {
    host().map(|host| (tempfile::tempdir().unwrap(), host))
}

#[test]
fn a_busy_vm_moves_there_and_back() {
    let Some((folder, host)) = rig() else { return };
    let (mut vm, _) = running(folder.path(), &host);
    for _ in 0..3 {
        let (outgoing, incoming) = handed_over(&vm, &host);
        let there = incoming.run().unwrap();
        outgoing.migrated();
        assert_eq!(vm.power_state(), PowerState::Halted);
        assert_eq!(vm.halted().unwrap().cause, HaltCause::Migrated);
        goes_on(&mut there.console().reader_at_end());
        vm = there;
    }
}

#[test]
fn a_vm_whose_target_gives_up_goes_on_with_its_disks() {
    let Some((folder, host)) = rig() else { return };
    let (vm, mut console) = running(folder.path(), &host);
    let outgoing = vm.begin_migration().unwrap();
    drop(outgoing);
    goes_on(&mut console);
    let (mut outgoing, incoming) = handed_over(&vm, &host);
    drop(incoming);
    outgoing.reclaim().unwrap();
    drop(outgoing);
    assert_eq!(vm.power_state(), PowerState::Running);
    goes_on(&mut console);
    let error = vm.resolve_migration(false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
}

#[test]
fn a_vm_whose_disks_are_in_use_stays_paused_until_it_is_decided() {
    let Some((folder, host)) = rig() else { return };
    let (vm, mut console) = running(folder.path(), &host);
    let (mut outgoing, incoming) = handed_over(&vm, &host);
    let error = outgoing.reclaim().unwrap_err();
    drop(outgoing);
    assert_eq!((error.kind(), vm.power_state()), (ErrorKind::Busy, PowerState::Paused), "{error}");
    assert!(vm.unpause().unwrap_err().to_string().contains("decide with resolve_migration"));
    assert_eq!(vm.resolve_migration(false).unwrap_err().kind(), ErrorKind::Busy);
    drop(incoming);
    vm.resolve_migration(false).unwrap();
    assert_eq!(vm.power_state(), PowerState::Running);
    goes_on(&mut console);

    let (outgoing, incoming) = handed_over(&vm, &host);
    drop(outgoing);
    let there = incoming.run().unwrap();
    vm.resolve_migration(true).unwrap();
    assert_eq!(vm.power_state(), PowerState::Halted);
    goes_on(&mut there.console().reader_at_end());
    drop(there);
    disk::open(folder.path().join("disk.raw"), Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
}

#[test]
fn a_vm_takes_back_all_its_disks_or_none() {
    let Some((folder, host)) = rig() else { return };
    let (vm, mut console) = running(folder.path(), &host);
    let open = |(name, format)| disk::open(folder.path().join(name), Some(format), Access::ReadWrite);
    let (raw, qcow2) = (("disk.raw", ImageFormat::Raw), ("disk.qcow2", ImageFormat::Qcow2));
    for (used, other) in [(raw, qcow2), (qcow2, raw)] {
        let (mut outgoing, incoming) = handed_over(&vm, &host);
        drop(incoming);
        let user = open(used).unwrap();
        for _ in 0..2 {
            let error = outgoing.reclaim().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Busy);
            assert!(error.to_string().contains(used.0), "{error}");
            open(other).unwrap();
        }
        drop(outgoing);
        assert!(vm.resolve_migration(false).unwrap_err().to_string().contains(used.0));
        open(other).unwrap();
        drop(user);
        vm.resolve_migration(false).unwrap();
        goes_on(&mut console);
    }
}

#[test]
fn an_image_that_is_not_the_same_is_refused() {
    let Some((folder, host)) = rig() else { return };
    let (vm, mut console) = running(folder.path(), &host);
    let mut outgoing = vm.begin_migration().unwrap();
    let arriving = arriving(&outgoing);
    let mut config = arriving.config().unwrap().clone();
    let copy = folder.path().join("copy.raw");
    disk::create(&copy, ImageFormat::Raw, 4 << 20).unwrap();
    config.disks[0] = Disk::raw(&copy);
    let lacks = Incoming::new(&arriving, config.clone(), &host, None).err().unwrap();
    assert!(lacks.len() == 1 && lacks[0].to_string().contains("copy.raw is not the disk there"), "{lacks:?}");
    // Somebody writes to it, so that it could be the disk of the VM.
    let written = disk::open(&copy, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    let mut incoming = Incoming::new(&arriving, config, &host, None).unwrap();
    drop(written);
    outgoing.park().unwrap();
    let error = incoming.prepare(&outgoing.release().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("copy.raw is not the image that was"), "{error}");
    drop(incoming);
    outgoing.reclaim().unwrap();
    drop(outgoing);
    goes_on(&mut console);
}

#[test]
fn verbs_that_come_too_late_say_that_the_vm_was_migrated() {
    let Some((folder, host)) = rig() else { return };
    let (vm, _) = running(folder.path(), &host);
    let there = std::thread::scope(|scope| {
        let unplug = scope.spawn(|| vm.unplug_disk(1, PATIENCE).unwrap_err());
        while vm.current_operations().is_empty() {
            std::thread::yield_now();
        }
        let (outgoing, incoming) = handed_over(&vm, &host);
        let shutdown = scope.spawn(|| vm.clean_shutdown(PATIENCE).unwrap_err());
        let reboot = scope.spawn(|| vm.clean_reboot(PATIENCE).unwrap_err());
        let there = incoming.run().unwrap();
        outgoing.migrated();
        for late in [unplug, shutdown, reboot] {
            let error = late.join().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidState);
            assert!(error.to_string().contains("it was migrated, and is halted here"), "{error}");
        }
        there
    });
    assert_eq!([vm.disk_positions(), there.disk_positions()], [[0, 1], [0, 1]]);
}

#[test]
fn an_undecided_vm_only_waits_for_the_decision() {
    let Some((folder, host)) = rig() else { return };
    let (vm, _) = running(folder.path(), &host);
    let (outgoing, incoming) = handed_over(&vm, &host);
    drop(incoming);
    drop(outgoing);
    // Nobody has the disks open now, so each of these would open them.
    let spare = folder.path().join("spare.raw");
    disk::create(&spare, ImageFormat::Raw, 1 << 20).unwrap();
    for error in [
        vm.resize_disk(0, 8 << 20).unwrap_err(),
        vm.plug_disk(Disk::raw(spare)).unwrap_err(),
        vm.unplug_disk(0, Duration::ZERO).unwrap_err(),
        vm.snapshot_views(folder.path()).unwrap_err(),
        vm.suspend(folder.path().join("saved"), &()).unwrap_err(),
        vm.hard_reboot().unwrap_err(),
        vm.unpause().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert!(error.to_string().contains("decide with resolve_migration"), "{error}");
    }
    assert_eq!(vm.allowed_operations(), [Verb::HardShutdown, Verb::Unpause]);
    vm.resolve_migration(false).unwrap();
    assert_eq!(vm.power_state(), PowerState::Running);
    vm.resize_disk(0, 8 << 20).unwrap();
}

#[test]
fn a_memory_file_that_was_used_before_is_all_zeroes_when_the_vm_arrives() {
    let Some((folder, host)) = rig() else { return };
    let (vm, _) = running(folder.path(), &host);
    let outgoing = vm.begin_migration().unwrap();
    let arriving = arriving(&outgoing);
    let used = File::from(rustix::fs::memfd_create("used", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    used.write_all_at(&vec![7; 32 << 20], 0).unwrap();
    let config = arriving.config().unwrap().clone().memory_file(used);
    let incoming = Incoming::new(&arriving, config, &host, None).unwrap();
    // The source does not send pages of zeroes in the first round.
    for region in incoming.memory().iter() {
        let mut bytes = vec![7; region.len() as usize];
        incoming.memory().read_slice(&mut bytes, region.start_addr()).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
}
