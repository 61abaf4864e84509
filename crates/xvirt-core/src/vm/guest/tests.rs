//! Tests verbs that come between a guest's request and the lock of its VM.

use std::time::Duration;

use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use crate::ErrorKind;
use crate::config::{Boot, ByteSize, VmConfig};
use crate::demo::{self, CommandLine, Mode};
use crate::host::Host;
use crate::machine::Signal;
use crate::memory::testing::copy_pages;
use crate::vm::events::{CrashReason, Event, EventReceiver};
use crate::vm::handle::Vm;
use crate::vm::incoming::{ArrivingVm, Incoming};
use crate::vm::state::{PowerState, Verb};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running VM and its events; `None` if this host cannot run one.
fn running() -> Option<(Vm, EventReceiver)> {
    let host = Host::probe().unwrap();
    if let Err(error) = host.require_kvm() {
        println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
        return None;
    }
    // The guest ignores the power button.
    let boot = Boot::kernel(demo::kernel()).command_line(CommandLine::new([Mode::Panic]).panic_event(0).to_string());
    let vm = VmConfig::new("demo").memory(ByteSize::mib(64)).boot(boot).build(&host).unwrap();
    let events = vm.events().unwrap();
    vm.start().unwrap();
    assert_eq!(next(&events), Event::Started);
    Some((vm, events))
}

/// Pauses a VM whose guest has just asked for something.
fn pause_with(vm: &Vm, signal: Signal) {
    let _turn = vm.begin(Verb::Pause).unwrap();
    let machine = vm.inner.machine().unwrap();
    machine.signals().send(signal);
    machine.park().unwrap();
    vm.inner.enter(PowerState::Paused, &Event::Paused);
}

/// Does what a supervisor does that was waiting for the lock.
fn supervise(vm: &Vm) {
    let run = vm.inner.lock().run;
    assert!(vm.inner.serve_guest(run));
    assert!(vm.inner.watchdog_expired(run));
}

fn next(events: &EventReceiver) -> Event {
    events.next_timeout(PATIENCE).unwrap().event
}

#[test]
fn what_a_guest_has_asked_for_waits_until_its_vm_goes_on() {
    let crash = CrashReason::TripleFault;
    for (signal, then) in [
        (Signal::Reset, Event::GuestReset),
        (Signal::PowerOff, Event::GuestShutdown),
        (Signal::Panicked(true), Event::GuestPanicked { crash_kernel: true }),
        (Signal::Crashed(crash.clone()), Event::Crashed(crash)),
    ] {
        let Some((vm, events)) = running() else { return };
        pause_with(&vm, signal);
        supervise(&vm);
        assert_eq!(
            (next(&events), events.try_next().unwrap(), vm.power_state()),
            (Event::Paused, None, PowerState::Paused)
        );
        vm.unpause().unwrap();
        assert_eq!([next(&events), next(&events)], [Event::Unpaused, then]);
    }
}

#[test]
fn what_a_guest_has_asked_for_is_forgotten_with_it() {
    let Some((vm, events)) = running() else { return };
    pause_with(&vm, Signal::PowerOff);
    vm.hard_reboot().unwrap();
    supervise(&vm);
    assert_eq!([next(&events), next(&events)], [Event::Paused, Event::HardReset]);
    assert_eq!((events.try_next().unwrap(), vm.power_state()), (None, PowerState::Running));
    pause_with(&vm, Signal::Reset);
    vm.hard_shutdown().unwrap();
    vm.start().unwrap();
    supervise(&vm);
    assert_eq!([next(&events), next(&events), next(&events)], [Event::Paused, Event::HardShutdown, Event::Started]);
    assert_eq!((events.try_next().unwrap(), vm.power_state()), (None, PowerState::Running));
}

/// The error of a clean reboot while `between` runs.
fn interrupted(vm: &Vm, between: impl FnOnce(&Vm)) -> crate::Error {
    std::thread::scope(|scope| {
        let reboot = scope.spawn(|| vm.clean_reboot(PATIENCE).unwrap_err());
        while !vm.inner.lock().reboot_on_power_off {
            std::thread::yield_now();
        }
        between(vm);
        reboot.join().unwrap()
    })
}

#[test]
fn a_clean_reboot_says_what_came_between() {
    let Some((vm, _events)) = running() else { return };
    let send = |vm: &Vm, signal| {
        let _turn = vm.inner.lock();
        vm.inner.machine().unwrap().signals().send(signal);
    };
    let error = interrupted(&vm, |vm| vm.hard_reboot().unwrap());
    let what = "cannot cleanly reboot VM 'demo', because it was reset by hard_reboot meanwhile; \
                see power_state() for the state it is in now";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidState, what));
    let error = interrupted(&vm, |vm| vm.hard_shutdown().unwrap());
    assert_eq!(error.kind(), ErrorKind::InvalidState);
    assert!(error.to_string().contains("it was shut down by hard_shutdown meanwhile"), "{error}");
    vm.start().unwrap();
    let error = interrupted(&vm, |vm| {
        assert_eq!(vm.clean_shutdown(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
        send(vm, Signal::PowerOff);
    });
    assert_eq!(error.kind(), ErrorKind::InvalidState);
    assert!(error.to_string().contains("it was shut down by clean_shutdown meanwhile"), "{error}");
    vm.start().unwrap();
    let error = interrupted(&vm, |vm| send(vm, Signal::Crashed(CrashReason::TripleFault)));
    assert_eq!(error.kind(), ErrorKind::GuestFault);
    assert!(error.to_string().contains("it crashed (a vCPU triple-faulted) meanwhile"), "{error}");
    vm.wait_halted(PATIENCE).unwrap();
}

#[test]
fn a_clean_shutdown_says_what_came_between() {
    let Some((vm, _events)) = running() else { return };
    std::thread::scope(|scope| {
        let waiting = std::sync::Arc::clone(&vm.inner.lock().run_end);
        let shutdown = scope.spawn(|| vm.clean_shutdown(PATIENCE).unwrap_err());
        // The VM, this test and the verb, once it waits.
        while std::sync::Arc::strong_count(&waiting) < 3 {
            std::thread::yield_now();
        }
        vm.hard_shutdown().unwrap();
        let error = shutdown.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert!(
            error.to_string().contains("cannot cleanly shut down VM 'demo', because it was shut down by"),
            "{error}"
        );
    });
}

/// What a VM says that cannot be migrated because of `verb`.
fn require_refused(vm: &Vm, verb: Verb) {
    let error = vm.begin_migration().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains(&format!("while another thread waits to {verb} it")), "{error}");
}

#[test]
fn a_vm_whose_guest_is_to_shut_down_or_reboot_is_not_migrated() {
    let Some((vm, _events)) = running() else { return };
    interrupted(&vm, |vm| {
        require_refused(vm, Verb::CleanReboot);
        vm.hard_reboot().unwrap();
    });
    std::thread::scope(|scope| {
        let shutdown = scope.spawn(|| vm.clean_shutdown(PATIENCE).unwrap_err());
        while vm.current_operations().is_empty() {
            std::thread::yield_now();
        }
        require_refused(&vm, Verb::CleanShutdown);
        vm.hard_shutdown().unwrap();
        shutdown.join().unwrap();
    });
}

#[test]
fn a_guest_that_is_late_for_a_reboot_is_rebooted_at_the_target() {
    let Some((vm, _events)) = running() else { return };
    assert_eq!(vm.clean_reboot(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
    let mut outgoing = vm.begin_migration().unwrap();
    let (config, requirements) = outgoing.offer().unwrap();
    let arriving = ArrivingVm::decode(&requirements, &config).unwrap();
    let config = vm.config().unwrap();
    let mut incoming = Incoming::new(&arriving, config, &Host::probe().unwrap(), None).unwrap();
    outgoing.park().unwrap();
    let state = outgoing.release().unwrap();
    let all: Vec<_> =
        outgoing.memory().iter().map(|region| vec![u64::MAX; region.len() as usize / 4096 / 64]).collect();
    copy_pages(outgoing.memory(), incoming.memory(), &all);
    incoming.prepare(&state).unwrap();
    let there = incoming.run().unwrap();
    outgoing.migrated();
    let events = there.events().unwrap();
    {
        let _turn = there.inner.lock();
        there.inner.machine().unwrap().signals().send(Signal::PowerOff);
    }
    assert_eq!(next(&events), Event::GuestReset);
}
