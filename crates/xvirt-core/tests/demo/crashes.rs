//! Guests that crash, and the configured actions.

use std::time::Duration;

use xvirt_core::ErrorKind;
use xvirt_core::config::{CrashAction, Uuid, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::vm::{CrashReason, Event, PowerState};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

/// Starts `config`, whose guest crashes, and waits for the crash.
fn crashed(config: VmConfig, host: &Host, reason: CrashReason) -> Guest {
    let guest = Guest::start(config, host).unwrap();
    guest.expect_event(&Event::Started);
    if reason == CrashReason::Panic {
        guest.expect_event(&Event::GuestPanicked { crash_kernel: false });
    }
    guest.expect_event(&Event::Crashed(reason));
    guest
}

#[test]
fn each_crash_has_the_action_that_is_configured() {
    let host = host!();
    for (mode, reason) in [(Mode::Crash, CrashReason::TripleFault), (Mode::Panic, CrashReason::Panic)] {
        let config = |action| config(&CommandLine::new([Mode::Hello, mode])).vcpus(2).on_crash(action);
        let guest = crashed(config(CrashAction::Halt), &host, reason.clone());
        guest.vm.wait_halted(PATIENCE).unwrap();

        let mut guest = crashed(config(CrashAction::Restart), &host, reason.clone());
        guest.expect_event(&Event::Restarted);
        guest.expect("demo: hello");
        guest.expect("demo: hello");
        guest.vm.hard_shutdown().unwrap();

        let mut guest = crashed(config(CrashAction::Preserve), &host, reason.clone());
        guest.expect_event(&Event::Paused);
        assert_eq!(guest.vm.power_state(), PowerState::Paused);
        guest.expect("demo: hello");
        guest.vm.hard_reboot().unwrap();
        guest.expect("demo: hello");
        guest.vm.hard_shutdown().unwrap();
    }
}

#[test]
fn a_guest_with_a_crash_kernel_goes_on() {
    let host = host!();
    let line = CommandLine::new([Mode::Panic]).panic_event(2);
    let guest = Guest::start(config(&line).on_crash(CrashAction::Halt), &host).unwrap();
    guest.expect_event(&Event::Started);
    guest.expect_event(&Event::GuestPanicked { crash_kernel: true });
    guest.vm.pause().unwrap();
    guest.expect_event(&Event::Paused);
}

#[test]
fn a_neglected_watchdog_restarts_the_guest_which_learns_of_it() {
    let host = host!();
    let config = config(&CommandLine::new([Mode::Watchdog]).periods(3));
    let mut guest = crashed(config.clone(), &host, CrashReason::Watchdog);
    guest.expect_event(&Event::Restarted);
    guest.expect("watchdog: runs=1 period=100 periods=3");
    guest.expect("watchdog: it bit");

    let guest = crashed(config.on_watchdog(CrashAction::Halt), &host, CrashReason::Watchdog);
    guest.vm.wait_halted(PATIENCE).unwrap();
}

#[test]
fn a_watchdog_does_not_expire_while_the_guest_is_paused() {
    let host = host!();
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Watchdog]).periods(20)), &host).unwrap();
    guest.expect("watchdog: runs=1");
    guest.vm.pause().unwrap();
    guest.expect_event(&Event::Started);
    guest.expect_event(&Event::Paused);
    // Longer than the watchdog's timeout.
    let quiet = guest.events.next_timeout(Duration::from_millis(2500));
    assert_eq!(quiet.unwrap_err().kind(), ErrorKind::Timeout);
    guest.vm.unpause().unwrap();
    guest.expect_event(&Event::Unpaused);
    guest.expect_event(&Event::Crashed(CrashReason::Watchdog));
}

#[test]
fn the_guest_finds_its_generation_id() {
    let host = host!();
    let mut config = config(&CommandLine::new([Mode::Generation]));
    config.generation_id = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    let mut guest = Guest::start(config, &host).unwrap();
    guest.expect("generation: 33221100554477668899aabbccddeeff");
    guest.expect(demo::DONE);
    guest.vm.hard_reboot().unwrap();
    guest.expect("generation: 33221100554477668899aabbccddeeff");
}
