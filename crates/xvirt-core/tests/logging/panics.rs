//! Log subscribers that panic on the threads of a VM.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use xvirt_core::config::{CrashAction, Disk, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, BlockBackend, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::vm::{CrashReason, Event, PowerState, Vm};

use super::LOG;
use crate::host;
use crate::support::{Guest, PATIENCE, config};
use crate::within::within;

/// What the log is called for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Enter,
    Event,
    Exit,
}

/// The VM about which, the thread on which, and the moment at which the log panics. Threads of disks are in no VM's
/// span.
const PANICS: [(&str, &str, Moment); 8] = [
    ("at the start of a vCPU", "vcpu1", Moment::Enter),
    ("at the start of the supervisor", "vm-supervisor", Moment::Enter),
    ("at the end of the supervisor", "vm-supervisor", Moment::Exit),
    ("at the start of a device", "virtio-console", Moment::Enter),
    ("on a vCPU", "vcpu", Moment::Event),
    ("on a device", "virtio", Moment::Event),
    ("on the caller", "caller", Moment::Enter),
    ("", "disk-io", Moment::Event),
];

/// Called by the log, in the span of a VM.
pub fn at(moment: Moment, span: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    let panics = |(vm, thread, when): &(&str, &str, Moment)| {
        let about = if vm.is_empty() { span.is_empty() } else { span.contains(&format!("name=\"{vm}\"")) };
        *when == moment && about && name.starts_with(thread)
    };
    assert!(!PANICS.iter().any(panics), "the log is broken");
}

fn named(name: &str, mode: Mode, seed: u64) -> VmConfig {
    LazyLock::force(&LOG);
    let mut config = config(&CommandLine::new([mode]).seed(seed)).vcpus(2);
    config.name = name.to_owned();
    config
}

/// The thread on which the log panicked, if that crashes the VM.
fn panicked(guest: &Guest) -> Option<String> {
    match guest.events.next_timeout(PATIENCE).unwrap().event {
        Event::Crashed(CrashReason::ThreadPanicked { thread, message }) => {
            assert_eq!(message, "the log is broken");
            Some(thread)
        }
        _ => None,
    }
}

/// A VM that is paused because the log panicked on one of its threads, and the name of that thread. A hostile guest is
/// tried with other seeds if it ends otherwise.
fn crashed(name: &str, mode: Mode, host: &Host) -> (Guest, String) {
    for seed in 1..=20 {
        let guest = Guest::start(named(name, mode, seed).on_crash(CrashAction::Preserve), host).unwrap();
        guest.expect_event(&Event::Started);
        if let Some(thread) = panicked(&guest) {
            guest.expect_event(&Event::Paused);
            return (guest, thread);
        }
    }
    panic!("the log did not panic {name}");
}

/// Drops a VM, which may hang.
fn end(guest: Guest) {
    within(move || drop(guest));
}

#[test]
fn a_vcpu_that_cannot_start_fails_the_start() {
    let host = host!();
    let vm = Arc::new(named("at the start of a vCPU", Mode::Hello, 1).build(&host).unwrap());
    let starting = Arc::clone(&vm);
    let error = within(move || starting.start()).unwrap_err();
    assert_eq!(error.to_string(), "the thread of vCPU 1 panicked: the log is broken");
    assert_eq!(vm.power_state(), PowerState::Halted);
    within(move || drop(vm));
}

#[test]
fn a_vm_without_its_supervisor_is_halted() {
    let host = host!();
    let config = named("at the start of the supervisor", Mode::Hello, 1).on_crash(CrashAction::Preserve);
    let guest = Guest::start(config, &host).unwrap();
    guest.expect_event(&Event::Started);
    assert_eq!(panicked(&guest).as_deref(), Some("vm-supervisor"));
    assert_eq!(guest.vm.power_state(), PowerState::Halted);
    end(guest);
}

#[test]
fn a_supervisor_that_panics_at_its_end_keeps_nobody_waiting() {
    let host = host!();
    let guest = Guest::start(named("at the end of the supervisor", Mode::PowerOff, 1), &host).unwrap();
    let guest = within(move || {
        for _ in 0..20 {
            guest.vm.wait_halted(PATIENCE).unwrap();
            guest.vm.start().unwrap();
        }
        guest
    });
    end(guest);
}

#[test]
fn a_panic_on_a_vcpu_or_device_is_a_crash_and_no_verb_waits_for_it() {
    let host = host!();
    let cases = [
        ("at the start of a device", "virtio-console", Mode::Hello),
        ("on a vCPU", "vcpu", Mode::Hostile),
        ("on a device", "virtio-", Mode::Hostile),
    ];
    for (name, threads, mode) in cases {
        let (guest, thread) = crashed(name, mode, &host);
        assert!(thread.starts_with(threads), "{thread}");
        let guest = within(move || {
            guest.vm.unpause().unwrap();
            guest
        });
        guest.expect_event(&Event::Unpaused);
        let guest = within(move || {
            guest.vm.hard_reboot().unwrap();
            guest
        });
        end(guest);
    }
}

#[test]
fn a_panic_on_the_thread_of_a_caller_leaves_the_vm_as_it_was() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("a.raw");
    disk::create(&image, ImageFormat::Raw, 1 << 20).unwrap();
    let guest = Guest::start(named("on the caller", Mode::Hello, 1).disk(Disk::raw(&image)), &host).unwrap();
    let call = move || {
        for verb in [Vm::pause, Vm::hard_reboot, Vm::hard_shutdown] {
            assert!(catch_unwind(AssertUnwindSafe(|| verb(&guest.vm))).is_err());
            assert_eq!(guest.vm.power_state(), PowerState::Running);
        }
        drop(guest);
    };
    std::thread::Builder::new().name("caller".into()).spawn(call).unwrap().join().unwrap();
    // The machine is gone, and its disk is unlocked.
    Guest::start(named("another", Mode::Hello, 1).disk(Disk::raw(&image)), &host).unwrap();
}

/// A disk that panics on writes.
#[derive(Debug)]
struct Panicking;

impl BlockBackend for Panicking {
    fn capacity(&self) -> u64 {
        1 << 20
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        panic!("no write is foreseen")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_panics_fails_its_requests_also_if_the_log_panics_over_it() {
    let host = host!();
    let config = named("with a disk that panics", Mode::Blk, 1).disk(Disk::backend(Arc::new(Panicking)));
    let mut guest = Guest::start(config, &host).unwrap();
    guest.expect(demo::FAILED);
    guest.expect_event(&Event::Started);
    match guest.events.next_timeout(PATIENCE).unwrap().event {
        Event::IoError { disk: 0, reason, .. } => {
            assert_eq!(reason, "the backend of the disk panicked: no write is foreseen");
        }
        other => panic!("{other:?} is no failed request"),
    }
    end(guest);
}
