//! The guest agent of a whole VM: the small agent in the demo guest.

use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use xvirt_core::ErrorKind;
use xvirt_core::agent::{CommandStatus, GuestAgent, GuestCommand};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::vm::PowerState;

use crate::host;
use crate::support::{Guest, PATIENCE, config};

/// A time limit that is meant to expire.
const SHORT: Duration = Duration::from_millis(500);

fn line() -> CommandLine {
    CommandLine::new([Mode::Agent, Mode::Echo])
}

fn agent(guest: &Guest) -> GuestAgent {
    guest.vm.agent().with_timeout(PATIENCE)
}

#[test]
fn a_guest_does_what_its_agent_is_asked_for() {
    let host = host!();
    let vm = config(&line()).build(&host).unwrap();
    let agent = vm.agent().with_timeout(PATIENCE);
    assert_eq!(agent.wait_ready(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    vm.start().unwrap();
    for _ in 0..2 {
        agent.wait_ready(PATIENCE).unwrap();
        assert!(agent.info().unwrap().is_enabled("guest-exec"));
        assert_eq!(agent.time().unwrap(), UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789));
        let output = agent.run(&GuestCommand::new("hello")).unwrap();
        assert_eq!((output.status, &*output.stdout_lossy()), (CommandStatus::Exited(3), "hello\n"));
        assert_eq!(agent.read_file("/etc/hostname", 1).unwrap_err().kind(), ErrorKind::AgentRefused);
        vm.hard_reboot().unwrap();
    }
}

#[test]
fn a_guest_without_an_agent_has_none() {
    let host = host!();
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Hello])), &host).unwrap();
    guest.expect("hello");
    let agent = agent(&guest);
    assert!(!agent.is_present());
    assert_eq!(agent.ping().unwrap_err().kind(), ErrorKind::AgentAbsent);
    assert_eq!(agent.wait_ready(SHORT).unwrap_err().kind(), ErrorKind::Timeout);
}

#[test]
fn a_clean_shutdown_asks_the_agent_first_and_then_the_power_button() {
    let host = host!();
    for (line, presses) in [(line(), false), (line().agent("late"), true), (line().agent("silent"), true)] {
        let guest = Guest::start(config(&line), &host).unwrap();
        let mut console = guest.vm.console().reader();
        console.wait_for("agent: open", PATIENCE).unwrap();
        // A quarter of the time is for the agent.
        let limit = if presses { Duration::from_secs(10) } else { PATIENCE };
        guest.vm.clean_shutdown(limit).unwrap();
        assert_eq!(guest.vm.power_state(), PowerState::Halted);
        let pressed = console.wait_for("power button", Duration::ZERO).is_ok();
        assert_eq!(pressed, presses, "{line}");
    }
}

#[test]
fn an_agent_that_misbehaves_costs_the_time_limit() {
    let host = host!();
    for (how, kind) in [
        ("silent", ErrorKind::Timeout),
        ("garbage", ErrorKind::Timeout),
        ("endless", ErrorKind::Timeout),
        ("late", ErrorKind::Timeout),
        ("closing", ErrorKind::AgentAbsent),
    ] {
        let mut guest = Guest::start(config(&line().agent(how)), &host).unwrap();
        guest.expect("agent: open");
        let limit = if kind == ErrorKind::Timeout { SHORT } else { PATIENCE };
        let agent = guest.vm.agent().with_timeout(limit);
        for _ in 0..2 {
            let began = Instant::now();
            assert_eq!(agent.info().unwrap_err().kind(), kind, "{how}");
            assert!(began.elapsed() < PATIENCE, "{how}");
            // The guest still writes to its console.
            guest.vm.console().write_all(b"ping\n").unwrap();
            guest.expect("pong");
            if how == "late" {
                break;
            }
        }
    }
}

#[test]
fn a_call_ends_with_its_guest() {
    let host = host!();
    let mut guest = Guest::start(config(&line().agent("silent")), &host).unwrap();
    let agent = agent(&guest);
    thread::scope(|scope| {
        guest.expect("agent: open");
        let call = scope.spawn(|| agent.ping());
        // The call may begin after the first one.
        while !call.is_finished() {
            guest.vm.hard_reboot().unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        assert_ne!(call.join().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        guest.vm.hard_reboot().unwrap();
        let call = scope.spawn(|| agent.wait_ready(PATIENCE));
        guest.vm.hard_shutdown().unwrap();
        assert_eq!(call.join().unwrap().unwrap_err().kind(), ErrorKind::InvalidState);
    });
    drop(guest);
    assert_eq!(agent.ping().unwrap_err().kind(), ErrorKind::Gone);
}
