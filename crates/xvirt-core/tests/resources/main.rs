//! Host resources of VMs, and their release. In a separate process, because it counts the resources of the whole
//! process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "demo")]

mod boot;
mod descriptors;
mod hotplug;
#[path = "../demo/support.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;

mod filters;

use std::fs;
use std::sync::{Mutex, PoisonError};

use support::{Guest, PATIENCE, config};
use xvirt_core::config::Disk;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::vm::Event;
use xvirt_testing::process::{Taken, comes_to};

/// These tests count resources of the whole process, so they must not run in parallel.
static ALONE: Mutex<()> = Mutex::new(());

/// Virtual memory of the process in KiB: all mappings, touched or not.
fn virtual_memory() -> u64 {
    status("VmSize:")
}

/// A value from the kernel's status of this process, in KiB.
fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The peak memory that this process uses during `work`, beyond that before, in bytes; and the result of `work`.
fn peak_memory<T>(work: impl FnOnce() -> T) -> (u64, T) {
    // SAFETY: it only releases unused memory, which would otherwise hide later allocations.
    unsafe { libc::malloc_trim(0) };
    // Resets the peak (proc(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let done = work();
    (status("VmHWM:").saturating_sub(before) << 10, done)
}

/// glibc gives each concurrent thread an arena of 64 MiB, and how many threads ever run concurrently varies.
fn limit_arenas() {
    // SAFETY: it only sets a limit.
    assert_eq!(unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) }, 1);
}

#[test]
fn a_thousand_rounds_end_as_they_began() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (raw, qcow2) = (folder.path().join("a.raw"), folder.path().join("b.qcow2"));
    disk::create(&raw, ImageFormat::Raw, 1 << 20).unwrap();
    disk::create(&qcow2, ImageFormat::Qcow2, 1 << 20).unwrap();
    let round = || {
        let config = config(&CommandLine::new([Mode::Hello])).disk(Disk::raw(&raw)).disk(Disk::qcow2(&qcow2));
        let vm = config.build(&host).unwrap();
        vm.start().unwrap();
        vm.hard_shutdown().unwrap();
    };
    limit_arenas();
    // The first rounds fill the allocator's pools and the thread stacks that glibc keeps.
    (0..10).for_each(|_| round());
    let (before, memory) = (Taken::now(), virtual_memory());
    (0..1000).for_each(|_| round());
    assert_eq!(Taken::now(), before);
    let grown = virtual_memory().saturating_sub(memory);
    // One leaked VM would be 64 MiB, one leaked thread stack 256 KiB.
    assert!(grown < 4 << 10, "{grown} KiB more are mapped than before");
}

#[test]
fn a_vm_that_switched_itself_off_keeps_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host!();
    let vm = config(&CommandLine::new([Mode::Hello, Mode::PowerOff])).build(&host).unwrap();
    let before = Taken::now();
    vm.start().unwrap();
    vm.wait_halted(PATIENCE).unwrap();
    // The thread that tore the machine down is about to end.
    assert_eq!(comes_to(&before, PATIENCE, Taken::now), Ok(()));
}

#[test]
fn fifty_vms_run_at_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host!();
    let before = Taken::now();
    let line = CommandLine::new([Mode::Counter, Mode::Hello]).pages(8).passes(3);
    let mut guests: Vec<_> = (0..50).map(|_| Guest::start(config(&line), &host).unwrap()).collect();
    for guest in &mut guests {
        guest.expect_event(&Event::Started);
    }
    for guest in &mut guests {
        guest.expect(demo::DONE);
        guest.vm.clean_shutdown(PATIENCE).unwrap();
    }
    drop(guests);
    assert_eq!(Taken::now(), before);
}
