//! Tests the port of the guest agent in a whole VM, with the small agent of the demo guest.

use std::thread;
use std::time::{Duration, Instant};

use crate::ErrorKind;
use crate::config::{Boot, ByteSize, VmConfig};
use crate::console::ConsoleReader;
use crate::demo::{self, CommandLine, Mode};
use crate::host::Host;
use crate::port::{PortConnection, PortStream};
use crate::vm::events::Event;
use crate::vm::handle::Vm;
use crate::vm::state::{PowerState, Verb};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running VM and its console; `None` if this host cannot run one.
fn running(line: &CommandLine) -> Option<(Vm, ConsoleReader)> {
    let host = Host::probe().unwrap();
    if let Err(error) = host.require_kvm() {
        println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
        return None;
    }
    let boot = Boot::kernel(demo::kernel()).command_line(line.to_string());
    let vm = VmConfig::new("demo").memory(ByteSize::mib(64)).boot(boot).build(&host).unwrap();
    vm.start().unwrap();
    let console = vm.console().reader();
    Some((vm, console))
}

fn agent() -> CommandLine {
    CommandLine::new([Mode::Agent, Mode::Echo])
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

fn port(vm: &Vm) -> &PortStream {
    &vm.inner.consoles.agent
}

fn opened(vm: &Vm) -> PortConnection {
    port(vm).wait_open(soon()).unwrap()
}

/// The guest's data up to the end of a line.
fn line(connection: &PortConnection) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        connection.receive(&mut byte, soon()).unwrap();
        line.extend(byte);
    }
    String::from_utf8_lossy(&line).into_owned()
}

fn ask(connection: &PortConnection, question: &str) -> String {
    connection.send(question.as_bytes(), soon()).unwrap();
    line(connection)
}

fn sync(connection: &PortConnection, id: u32) {
    let question = format!("{{\"execute\": \"guest-sync-delimited\", \"arguments\": {{\"id\": {id}}}}}\n");
    assert_eq!(ask(connection, &question), format!("\u{fffd}{{\"return\": {id}}}\n"));
}

const PING: &str = "{\"execute\": \"guest-ping\"}\n";
const PONG: &str = "{\"return\": {}}\n";

#[test]
fn an_agent_answers_across_pauses_and_reboots() {
    let Some((vm, _console)) = running(&agent()) else { return };
    let connection = opened(&vm);
    sync(&connection, 17);
    assert_eq!(ask(&connection, PING), PONG);
    vm.pause().unwrap();
    connection.send(PING.as_bytes(), soon()).unwrap();
    assert!(port(&vm).is_open());
    let nothing = connection.receive(&mut [0], Some(Instant::now())).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Timeout);
    vm.unpause().unwrap();
    assert_eq!(line(&connection), PONG);
    // This request must not reach the next guest.
    vm.pause().unwrap();
    connection.send(PING.as_bytes(), soon()).unwrap();
    vm.hard_reboot().unwrap();
    assert_eq!(connection.receive(&mut [0], soon()).unwrap_err().kind(), ErrorKind::InvalidState);
    let connection = opened(&vm);
    sync(&connection, 18);
    connection.send(b"{\"execute\": \"guest-shutdown\"}\n", soon()).unwrap();
    assert_eq!(connection.receive(&mut [0], soon()).unwrap_err().kind(), ErrorKind::InvalidState);
    vm.wait_halted(PATIENCE).unwrap();
    assert!(!port(&vm).is_open());
    vm.start().unwrap();
    sync(&opened(&vm), 19);
    let connection = opened(&vm);
    let port = port(&vm).clone();
    drop(vm);
    assert_eq!(connection.send(b"x", soon()).unwrap_err().kind(), ErrorKind::Gone);
    assert_eq!(port.wait_open(soon()).unwrap_err().kind(), ErrorKind::Gone);
}

#[test]
fn more_than_the_guest_has_room_for_arrives() {
    let Some((vm, _console)) = running(&agent()) else { return };
    let connection = opened(&vm);
    let long = format!("{}\n", "y".repeat(300_000));
    let answer = ask(&connection, &long);
    assert!(answer.starts_with("{\"error\": "), "{answer}");
    sync(&connection, 1);
}

#[test]
fn a_guest_that_sends_without_end_is_kept_waiting_and_harms_nobody() {
    let Some((vm, mut console)) = running(&agent().agent("endless")) else { return };
    let connection = opened(&vm);
    connection.send(PING.as_bytes(), soon()).unwrap();
    let mut bytes = [0; 4096];
    // Nothing reads the port; the guest keeps running.
    for _ in 0..3 {
        vm.console().write_all(b"ping\n").unwrap();
        console.wait_for("pong", PATIENCE).unwrap();
    }
    let mut total = 0;
    while total < 1 << 20 {
        let count = connection.receive(&mut bytes, soon()).unwrap();
        assert!(bytes[..count].iter().all(|byte| *byte == b'x'));
        total += count;
    }
    vm.pause().unwrap();
    // The amount of data kept is limited.
    let mut kept = 0;
    while let Ok(count) = connection.receive(&mut bytes, Some(Instant::now())) {
        kept += count;
    }
    assert!(kept <= 64 << 10, "{kept} bytes are kept");
    vm.unpause().unwrap();
    connection.receive(&mut bytes, soon()).unwrap();
    vm.hard_shutdown().unwrap();
    assert_eq!(vm.power_state(), PowerState::Halted);
}

#[test]
fn a_guest_that_closes_the_port_ends_the_connection() {
    let Some((vm, _console)) = running(&agent().agent("closing")) else { return };
    let first = opened(&vm);
    first.send(PING.as_bytes(), soon()).unwrap();
    let mut half = Vec::new();
    let error = loop {
        let mut bytes = [0; 64];
        match first.receive(&mut bytes, soon()) {
            Ok(count) => half.extend(&bytes[..count]),
            Err(error) => break error,
        }
    };
    // Unless the guest has opened it again already.
    assert!(PONG.as_bytes().starts_with(&half) && half.len() < PONG.len(), "{half:?}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    sync(&opened(&vm), 5);
}

#[test]
fn a_guest_without_an_agent_has_the_port_closed() {
    let Some((vm, mut console)) = running(&CommandLine::new([Mode::Echo])) else { return };
    console.wait_for(demo::ECHO_READY, PATIENCE).unwrap();
    assert!(!port(&vm).is_open());
    assert_eq!(port(&vm).wait_open(Some(Instant::now())).unwrap_err().kind(), ErrorKind::Timeout);
}

/// The guest may have booted again before a verb that asked its agent has the lock.
#[test]
fn a_verb_whose_guest_has_ended_does_not_press_the_next_guests_power_button() {
    let Some((vm, mut console)) = running(&agent().agent("silent")) else { return };
    console.wait_for(demo::ECHO_READY, PATIENCE).unwrap();
    opened(&vm);
    let error = thread::scope(|scope| {
        let reboot = scope.spawn(|| vm.clean_reboot(PATIENCE).unwrap_err());
        while !vm.inner.lock().reboot_on_power_off {
            thread::yield_now();
        }
        let (mut power, _listed) = vm.begin(Verb::HardReboot).unwrap();
        vm.inner.running_machine().unwrap().park().unwrap();
        vm.inner.reset(&mut power, Event::HardReset).unwrap();
        console.wait_for(demo::ECHO_READY, PATIENCE).unwrap();
        drop(power);
        reboot.join().unwrap()
    });
    assert!(error.to_string().contains("it was reset by hard_reboot meanwhile"), "{error}");
    vm.console().write_all(b"ping\n").unwrap();
    let output = console.wait_for("pong", PATIENCE).unwrap();
    assert!(!output.contains("power button"), "{output}");
}
