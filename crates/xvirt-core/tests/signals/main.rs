//! Signals and VMs. In a separate process, because signals belong to the whole process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "demo")]

#[path = "../demo/support.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;
mod within;

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::SigSet;
use support::{Guest, config, endless_loop};
use within::within;
use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, ByteSize, Disk, IoEngine, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::vm::{CrashReason, Event, PowerState, Vm};

/// Held by each test, because it changes the state of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A VM whose guest does not leave its vCPUs until it is interrupted.
fn start_busy(host: &Host) -> Arc<Vm> {
    let config = VmConfig::new("busy").memory(ByteSize::mib(64)).vcpus(2).boot(Boot::kernel(endless_loop()));
    Arc::new(Guest::start(config, host).unwrap().vm)
}

/// Waits until the guest runs: a vCPU needs much less CPU time to start.
fn wait_busy(vm: &Vm) {
    let time = || vm.statistics().vcpus.iter().map(|vcpu| vcpu.cpu_time).sum::<Duration>();
    let before = time();
    while time() < before + Duration::from_millis(2) {
        thread::yield_now();
    }
}

/// Calls a verb that may hang.
fn call<T: Send + 'static>(vm: &Arc<Vm>, verb: impl FnOnce(&Vm) -> T + Send + 'static) -> T {
    let vm = Arc::clone(vm);
    within(move || verb(&vm))
}

#[test]
fn a_vm_started_with_all_signals_blocked_obeys() {
    let _alone = alone();
    let host = host!();
    let start = move || {
        SigSet::all().thread_block().unwrap();
        start_busy(&host)
    };
    let vm = thread::spawn(start).join().unwrap();
    wait_busy(&vm);
    call(&vm, Vm::pause).unwrap();
    call(&vm, Vm::unpause).unwrap();
    call(&vm, Vm::hard_reboot).unwrap();
    call(&vm, Vm::hard_shutdown).unwrap();
}

/// The blocked signals of each thread of this process, as a bit set, by thread name.
fn blocked() -> BTreeMap<String, u64> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let mask = |thread: fs::DirEntry| {
        let (name, status) = (thread.path().join("comm"), thread.path().join("status"));
        let (name, status) = (fs::read_to_string(name).ok()?, fs::read_to_string(status).ok()?);
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
        Some((name.trim_end().to_owned(), u64::from_str_radix(mask.trim(), 16).ok()?))
    };
    threads.filter_map(|thread| mask(thread.ok()?)).collect()
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

#[test]
fn threads_have_all_signals_blocked_but_the_one_that_is_for_vcpus() {
    let _alone = alone();
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("a.raw");
    disk::create(&image, ImageFormat::Raw, 1 << 20).unwrap();
    let disk = Disk::raw(&image).engine(IoEngine::Threads);
    let line = CommandLine::new([Mode::Rng, Mode::Blk]);
    let mut guest = Guest::start(config(&line).disk(disk), &host).unwrap();
    let _socket = guest.vm.console().attach_unix_socket(folder.path().join("console")).unwrap();
    guest.expect(demo::DONE);
    let masks = blocked();
    // SIGKILL, SIGSTOP and the two signals that glibc reserves cannot be blocked; fault signals are for the faulting
    // thread.
    let faults = [libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGSYS, libc::SIGTRAP];
    let never = [libc::SIGKILL, libc::SIGSTOP, 32, 33].into_iter().chain(faults).map(bit).fold(0, |all, bit| all | bit);
    for name in ["vm-supervisor", "xvirt-console", "virtio-console", "virtio-blk", "virtio-rng", "disk-io", "vcpu0"] {
        let mask = masks.get(name).unwrap_or_else(|| panic!("no {name} in {masks:?}"));
        let open = !mask & !never;
        if name == "vcpu0" {
            assert!(open.is_power_of_two() && open > bit(libc::SIGRTMIN()), "{name}: {open:#x}");
        } else {
            assert_eq!(open, 0, "{name}");
        }
    }
    guest.vm.hard_shutdown().unwrap();
}

extern "C" fn of_the_program(_: libc::c_int) {}

/// The current action of a real-time signal.
fn action(signal: i32) -> libc::sighandler_t {
    // SAFETY: all zeroes is a valid sigaction, into which the current one is written.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, std::ptr::null(), &raw mut action), 0);
        action.sa_sigaction
    }
}

fn set(signal: i32, action: libc::sighandler_t) {
    // SAFETY: the handler does nothing.
    assert_ne!(unsafe { libc::signal(signal, action) }, libc::SIG_ERR);
}

fn of_the_program_address() -> libc::sighandler_t {
    of_the_program as extern "C" fn(libc::c_int) as libc::sighandler_t
}

/// The signal that interrupts vCPUs: the real-time signal with a handler that is not of a test.
fn kick_signal() -> i32 {
    let others = [libc::SIG_DFL, libc::SIG_IGN, of_the_program_address()];
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).rfind(|signal| !others.contains(&action(*signal))).unwrap()
}

#[test]
fn a_handler_that_the_program_sets_later_is_named() {
    let _alone = alone();
    let host = host!();
    let vm = start_busy(&host);
    let signal = kick_signal();
    // If a signal has no handler, none is lost.
    for nothing in [libc::SIG_IGN, libc::SIG_DFL] {
        wait_busy(&vm);
        set(signal, nothing);
        call(&vm, Vm::pause).unwrap();
        call(&vm, Vm::unpause).unwrap();
    }
    wait_busy(&vm);
    set(signal, of_the_program_address());
    for verb in [Vm::pause, Vm::hard_reboot] {
        let error = call(&vm, verb).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.to_string().contains(&format!("its own handler for signal {signal}")), "{error}");
        assert!(error.remedy().is_some());
        assert_eq!(vm.power_state(), PowerState::Running);
        wait_busy(&vm);
    }
    call(&vm, Vm::hard_shutdown).unwrap();
    // The next machine uses another signal.
    call(&vm, Vm::start).unwrap();
    call(&vm, Vm::pause).unwrap();
    assert_eq!(action(signal), of_the_program_address());
    call(&vm, Vm::hard_shutdown).unwrap();
}

#[test]
fn a_guest_that_cannot_be_stopped_for_its_reset_is_not_said_to_be_unbootable() {
    let _alone = alone();
    let host = host!();
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Echo])), &host).unwrap();
    guest.expect(demo::ECHO_READY);
    guest.expect_event(&Event::Started);
    let signal = kick_signal();
    set(signal, of_the_program_address());
    guest.vm.console().write_all(b"reboot\n").unwrap();
    let event = guest.events.next_timeout(support::PATIENCE).unwrap().event;
    let Event::Crashed(CrashReason::NotStopped(why)) = event else { panic!("{event:?}") };
    assert!(why.contains(&format!("its own handler for signal {signal}")), "{why}");
    guest.vm.wait_halted(support::PATIENCE).unwrap();
}
