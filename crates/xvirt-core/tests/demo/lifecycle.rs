//! Power states and verbs.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use xvirt_core::ErrorKind;
use xvirt_core::config::EntryProtocol;
use xvirt_core::config::{Boot, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::vm::{CrashReason, Event, PowerState};

use crate::host;
use crate::support::{Guest, PATIENCE, config, endless_loop};

#[test]
fn both_boot_protocols_reach_the_guest() {
    let host = host!();
    for (protocol, name) in [(EntryProtocol::Pvh, "pvh"), (EntryProtocol::Linux64, "linux64")] {
        let line = CommandLine::new([Mode::Smp, Mode::Timer, Mode::PowerOff]).hertz(50).ticks(3).to_string();
        let boot = Boot::kernel(demo::kernel()).command_line(line).protocol(protocol);
        let mut guest = Guest::start(VmConfig::new("demo").vcpus(4).boot(boot), &host).unwrap();
        let text = guest.expect(demo::DONE);
        assert!(text.contains(&format!("entry={name} cpus=4 memory=512M")), "{text}");
        assert!(text.contains("smp: cpus=4"), "{text}");
        assert!(text.contains("timer: tick 3"), "{text}");
        guest.vm.wait_halted(PATIENCE).unwrap();
    }
}

#[test]
fn sixty_four_vcpus_come_up() {
    let host = host!();
    let line = CommandLine::new([Mode::Smp, Mode::PowerOff]);
    let mut guest = Guest::start(config(&line).vcpus(64).threads_per_core(2), &host).unwrap();
    let text = guest.expect(demo::DONE);
    assert!(text.contains("smp: cpus=64"), "{text}");
}

#[test]
fn a_guest_that_switches_off_leaves_the_vm_halted() {
    let host = host!();
    let guest = Guest::start(config(&CommandLine::new([Mode::Hello, Mode::PowerOff])), &host).unwrap();
    guest.expect_event(&Event::Started);
    guest.expect_event(&Event::GuestShutdown);
    assert_eq!(guest.vm.power_state(), PowerState::Halted);
    guest.vm.start().unwrap();
    guest.vm.wait_halted(PATIENCE).unwrap();
}

#[test]
fn the_power_button_shuts_down() {
    let host = host!();
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Hello])), &host).unwrap();
    guest.expect(demo::DONE);
    guest.vm.clean_shutdown(PATIENCE).unwrap();
    assert_eq!(guest.vm.power_state(), PowerState::Halted);
    guest.expect(demo::POWER_BUTTON);
}

#[test]
fn a_guest_that_ignores_the_button_keeps_running() {
    let host = host!();
    let deaf = Guest::start(VmConfig::new("deaf").boot(Boot::kernel(endless_loop())), &host).unwrap();
    let error = deaf.vm.clean_shutdown(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "VM 'deaf' did not shut down within 50ms; give it more time, or use hard_shutdown");
    assert_eq!(deaf.vm.power_state(), PowerState::Running);
    deaf.vm.hard_shutdown().unwrap();
}

#[test]
fn reboots_happen_in_place() {
    let host = host!();
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Echo])), &host).unwrap();
    guest.expect_event(&Event::Started);
    guest.expect(demo::ECHO_READY);
    guest.vm.console().write_all(b"reboot\n").unwrap();
    guest.expect(demo::ECHO_READY);
    guest.expect_event(&Event::GuestReset);
    guest.vm.hard_reboot().unwrap();
    guest.expect(demo::ECHO_READY);
    guest.expect_event(&Event::HardReset);
    guest.vm.clean_reboot(PATIENCE).unwrap();
    guest.expect(demo::ECHO_READY);
    guest.expect_event(&Event::GuestReset);
    guest.vm.console().write_all(b"ping\n").unwrap();
    guest.expect("pong");
    guest.vm.hard_shutdown().unwrap();
    guest.expect_event(&Event::HardShutdown);
}

#[test]
fn a_paused_guest_stands_still_and_goes_on() {
    let host = host!();
    let line = CommandLine::new([Mode::Counter, Mode::Smp]).pages(16).every(1);
    let mut guest = Guest::start(config(&line).vcpus(2), &host).unwrap();
    guest.expect("pass 3");
    for _ in 0..20 {
        guest.vm.pause().unwrap();
        let mut buffer = [0; 4096];
        while guest.console.try_read(&mut buffer).is_some_and(|n| n > 0) {}
        assert_eq!(guest.vm.power_state(), PowerState::Paused);
        assert_eq!(guest.console.try_read(&mut buffer), None, "a paused guest printed something");
        guest.vm.unpause().unwrap();
        guest.expect("pass");
    }
    assert_eq!(guest.vm.pause().and_then(|()| guest.vm.pause()).unwrap_err().kind(), ErrorKind::InvalidState);
    guest.vm.hard_shutdown().unwrap();
}

#[test]
fn a_guest_writes_as_many_pages_as_its_ticks_allow() {
    let host = host!();
    let line = CommandLine::new([Mode::Counter, Mode::Timer]).hertz(100).ticks(0);
    let line = line.pages(8).every(1).pages_per_tick(4);
    let mut guest = Guest::start(config(&line), &host).unwrap();
    guest.expect("pass 2\r");
    let text = guest.expect("pass 6\r");
    // A pass takes two ticks. That of the last one may not have been printed yet.
    assert!(text.matches("timer: tick").count() >= 7, "{text}");
    guest.vm.hard_shutdown().unwrap();
}

#[test]
fn a_guest_that_reboots_all_the_time_stays_paused() {
    let host = host!();
    let guest = Guest::start(config(&CommandLine::new([Mode::Reboot])), &host).unwrap();
    for _ in 0..100 {
        guest.vm.pause().unwrap();
        while guest.events.try_next().unwrap().map(|record| record.event) != Some(Event::Paused) {}
        let next = guest.events.next_timeout(Duration::from_millis(5));
        assert_eq!(next.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(guest.vm.power_state(), PowerState::Paused);
        guest.vm.unpause().unwrap();
        guest.expect_event(&Event::Unpaused);
    }
    guest.expect_event(&Event::GuestReset);
    guest.vm.hard_shutdown().unwrap();
}

#[test]
fn the_button_is_pressed_again_for_a_guest_that_does_not_listen_yet() {
    let host = host!();
    let guest = Guest::start(config(&CommandLine::new([Mode::Hello])), &host).unwrap();
    guest.vm.clean_reboot(PATIENCE).unwrap();
    guest.vm.hard_reboot().unwrap();
    guest.vm.clean_shutdown(PATIENCE).unwrap();
    for event in [Event::Started, Event::GuestReset, Event::HardReset, Event::GuestShutdown] {
        guest.expect_event(&event);
    }
}

#[test]
fn a_guest_that_is_late_for_a_reboot_comes_back() {
    let host = host!();
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Echo])), &host).unwrap();
    guest.expect_event(&Event::Started);
    guest.expect(demo::ECHO_READY);
    assert_eq!(guest.vm.clean_reboot(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
    guest.expect_event(&Event::GuestReset);
    guest.expect(demo::ECHO_READY);
    // But it stays off if that was the last request.
    assert_eq!(guest.vm.clean_reboot(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
    guest.vm.clean_shutdown(PATIENCE).unwrap();
    guest.expect_event(&Event::GuestShutdown);
}

#[test]
fn what_was_typed_for_a_guest_is_not_executed_by_the_next() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Echo])), &host).unwrap();
    guest.expect(demo::ECHO_READY);
    let socket = guest.vm.console().attach_unix_socket(folder.path().join("console")).unwrap();
    let mut client = UnixStream::connect(socket.path()).unwrap();
    let both = |guest: &Guest| {
        for console in [guest.vm.console(), guest.vm.virtio_console()] {
            console.write_all(b"poweroff\n").unwrap();
        }
    };
    // Its guest is powered off before it reads that.
    guest.vm.pause().unwrap();
    both(&guest);
    guest.vm.hard_shutdown().unwrap();
    client.write_all(b"poweroff\n").unwrap();
    guest.vm.start().unwrap();
    guest.expect(demo::ECHO_READY);
    client.write_all(b"ping\n").unwrap();
    guest.expect("pong");
    // Or reset.
    guest.vm.pause().unwrap();
    both(&guest);
    guest.vm.hard_reboot().unwrap();
    guest.expect(demo::ECHO_READY);
    guest.vm.console().write_all(b"ping\n").unwrap();
    guest.expect("pong");
}

#[test]
fn a_triple_fault_is_a_crash() {
    let host = host!();
    let guest = Guest::start(config(&CommandLine::new([Mode::Hello, Mode::Crash])), &host).unwrap();
    guest.expect_event(&Event::Started);
    guest.expect_event(&Event::Crashed(CrashReason::TripleFault));
    assert_eq!(guest.vm.power_state(), PowerState::Halted);
}

#[test]
fn verbs_from_many_threads_exclude_each_other() {
    let host = host!();
    let vm = config(&CommandLine::new([Mode::Hello])).build(&host).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let verbs = [vm.start(), vm.pause(), vm.unpause(), vm.hard_reboot(), vm.hard_shutdown()];
                    for error in verbs.into_iter().filter_map(Result::err) {
                        assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
                    }
                }
            });
        }
    });
    if vm.power_state() != PowerState::Halted {
        vm.hard_shutdown().unwrap();
    }
}

#[test]
fn the_console_keeps_what_a_late_reader_wants() {
    let host = host!();
    let guest = Guest::start(config(&CommandLine::new([Mode::Hello, Mode::PowerOff])), &host).unwrap();
    guest.vm.wait_halted(PATIENCE).unwrap();
    let text = guest.vm.console().reader().wait_for(demo::DONE, PATIENCE).unwrap();
    assert!(text.contains(demo::STARTED), "{text}");
}
