//! Tests the console and the agent's port with a driver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::Console;
use super::device::MULTIPORT;
use super::handler::{AGENT_RECEIVE, AGENT_TRANSMIT, CONTROL_RECEIVE, CONTROL_TRANSMIT, MAX_OUTPUT, RECEIVE, TRANSMIT};
use crate::ErrorKind;
use crate::console::ConsolePort;
use crate::device::Device;
use crate::port::{PortConnection, PortStream};
use crate::virtio::testing::{DATA, EVENT_IDX, Piece, Rig, wait};
use crate::virtio::{ConsoleState, DeviceState};

const NAME: &str = "org.qemu.guest_agent.0";

struct Port {
    output: Mutex<Vec<u8>>,
    input: Mutex<VecDeque<u8>>,
    event: Arc<EventFd>,
}

impl Port {
    fn new() -> Arc<Self> {
        let event = Arc::new(EventFd::new(EFD_NONBLOCK).unwrap());
        Arc::new(Self { output: Mutex::default(), input: Mutex::default(), event })
    }

    fn type_in(&self, text: &[u8]) {
        self.input.lock().unwrap().extend(text);
        self.event.write(1).unwrap();
    }
}

impl ConsolePort for Port {
    fn output(&self, bytes: &[u8]) {
        self.output.lock().unwrap().extend(bytes);
    }

    fn read_input(&self, buf: &mut [u8]) -> usize {
        let mut input = self.input.lock().unwrap();
        let count = buf.len().min(input.len());
        buf[..count].iter_mut().zip(input.drain(..count)).for_each(|(to, from)| *to = from);
        count
    }

    fn input_event(&self) -> &EventFd {
        &self.event
    }
}

/// A console with its two backends and its driver.
struct Bench {
    rig: Rig,
    port: Arc<Port>,
    agent: PortStream,
}

impl Bench {
    fn new() -> Self {
        let port = Port::new();
        let agent = PortStream::new(NAME, port.event.clone());
        agent.power_on();
        let rig = Rig::new(Arc::new(Console::new(port.clone(), agent.backend(), ConsoleState::default())));
        Self { rig, port, agent }
    }

    fn started(features: u64) -> Self {
        let mut bench = Self::new();
        bench.rig.start(EVENT_IDX | features);
        bench
    }

    /// Opens the port like a program in the guest.
    fn open() -> (Self, PortConnection) {
        let mut bench = Self::started(MULTIPORT);
        bench.say(1, 6, 1);
        let connection = bench.agent.wait_open(soon()).unwrap();
        (bench, connection)
    }

    /// Sends a control message from the driver.
    fn say(&mut self, port: u32, event: u16, value: u16) {
        self.rig.fill(DATA, &control(port, event, value));
        assert_eq!(self.rig.request(CONTROL_TRANSMIT, &[Piece::Read(DATA, 8)]), 0);
    }

    /// The device's next control message, which needs room after `DATA`.
    fn hear(&mut self) -> Vec<u8> {
        let written = self.rig.used(CONTROL_RECEIVE).1;
        self.rig.bytes(DATA + 0x1000, written as usize)
    }

    fn room_for_control(&mut self) {
        self.rig.post(CONTROL_RECEIVE, &[Piece::Write(DATA + 0x1000, 64)]);
        self.rig.kick(CONTROL_RECEIVE);
    }

    fn moved(self) -> Self {
        let Self { rig, port, agent } = self;
        let rig = rig.moved(|state| {
            let DeviceState::Console(state) = &state.device else { panic!("another device") };
            Arc::new(Console::new(port.clone(), agent.backend(), state.clone()))
        });
        rig.pci.resume();
        Self { rig, port, agent }
    }
}

fn control(port: u32, event: u16, value: u16) -> Vec<u8> {
    [&port.to_le_bytes()[..], &event.to_le_bytes(), &value.to_le_bytes()].concat()
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(60))
}

fn receive(connection: &PortConnection, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let mut at = 0;
    while at < count {
        at += connection.receive(&mut bytes[at..], soon()).unwrap();
    }
    bytes
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i % 251) as u8).collect()
}

/// Drivers with multiport support use the console in the same way.
#[test]
fn output_arrives_in_order() {
    for features in [0, MULTIPORT] {
        let Bench { mut rig, port, .. } = Bench::started(features);
        let text = pattern(10_000);
        rig.fill(DATA, &text);
        rig.request(TRANSMIT, &[Piece::Read(DATA, 1), Piece::Read(DATA + 1, 0), Piece::Read(DATA + 1, 9000)]);
        rig.request(TRANSMIT, &[Piece::Read(DATA + 9001, 999)]);
        assert!(*port.output.lock().unwrap() == text);
    }
}

#[test]
fn input_waits_for_buffers_and_buffers_for_input() {
    for features in [0, MULTIPORT] {
        let Bench { mut rig, port, .. } = Bench::started(features);
        port.type_in(b"early");
        rig.post(RECEIVE, &[Piece::Write(DATA, 3)]);
        rig.kick(RECEIVE);
        assert_eq!((rig.used(RECEIVE).1, rig.bytes(DATA, 3)), (3, b"ear".to_vec()));
        rig.post(RECEIVE, &[Piece::Write(DATA, 16)]);
        rig.kick(RECEIVE);
        assert_eq!((rig.used(RECEIVE).1, rig.bytes(DATA, 2)), (2, b"ly".to_vec()));
        rig.post(RECEIVE, &[Piece::Write(DATA, 0)]);
        rig.post(RECEIVE, &[Piece::Write(DATA, 16)]);
        rig.kick(RECEIVE);
        assert_eq!(rig.used(RECEIVE).1, 0);
        port.type_in(b"late");
        assert_eq!((rig.used(RECEIVE).1, rig.bytes(DATA, 4)), (4, b"late".to_vec()));
        wait("an interrupt", || rig.interrupts(RECEIVE) > 0);
    }
}

#[test]
fn a_console_moves_with_the_input_that_nobody_read() {
    let Bench { mut rig, port, agent } = Bench::started(0);
    rig.post(RECEIVE, &[Piece::Write(DATA, 16)]);
    rig.kick(RECEIVE);
    rig.pci.pause();
    port.type_in(b"x");
    assert_eq!(rig.used_index(RECEIVE), 0);
    let Bench { mut rig, .. } = Bench { rig, port, agent }.moved();
    assert_eq!((rig.used(RECEIVE).1, rig.bytes(DATA, 1)), (1, b"x".to_vec()));
}

#[test]
fn endless_output_is_cut_and_outside_memory_needs_a_reset() {
    let Bench { mut rig, port, .. } = Bench::started(0);
    let pieces = [Piece::Read(DATA, 0x30_0000 - 1), Piece::Read(DATA, 0x30_0000 - 1)];
    rig.request(TRANSMIT, &pieces);
    assert_eq!(port.output.lock().unwrap().len(), MAX_OUTPUT);
    rig.post(TRANSMIT, &[Piece::Read(u64::MAX - 1, 8)]);
    rig.kick(TRANSMIT);
    rig.wait_needs_reset();
}

#[test]
fn the_driver_learns_of_both_ports() {
    let mut bench = Bench::started(MULTIPORT);
    assert_eq!(bench.rig.offered() & MULTIPORT, MULTIPORT);
    assert_eq!(bench.rig.config::<8>(0), [0, 0, 0, 0, 2, 0, 0, 0]);
    for _ in 0..2 {
        bench.room_for_control();
    }
    bench.say(u32::MAX, 0, 1);
    let mut heard = vec![bench.hear(), bench.hear()];
    // Each port is announced as soon as the driver has set it up and has room.
    bench.say(1, 3, 1);
    bench.say(0, 3, 1);
    for _ in 0..4 {
        bench.room_for_control();
        heard.push(bench.hear());
    }
    // Two buffers at one address: only the newest message is there.
    assert_eq!(heard[1], control(1, 1, 1));
    let name = [control(1, 7, 1), NAME.as_bytes().to_vec()].concat();
    assert_eq!(heard[2..], [control(0, 4, 1), name, control(0, 6, 1), control(1, 6, 1)]);
}

#[test]
fn a_driver_that_knows_one_port_is_told_of_no_other() {
    let mut bench = Bench::started(0);
    bench.room_for_control();
    bench.rig.fill(DATA, &control(1, 6, 1));
    bench.rig.post(CONTROL_TRANSMIT, &[Piece::Read(DATA, 8)]);
    bench.rig.kick(CONTROL_TRANSMIT);
    bench.rig.request(TRANSMIT, &[Piece::Read(DATA, 8)]);
    assert_eq!((bench.rig.used_index(CONTROL_TRANSMIT), bench.rig.used_index(CONTROL_RECEIVE)), (0, 0));
    assert!(!bench.agent.is_open());
}

#[test]
fn bytes_pass_both_ways() {
    let (mut bench, connection) = Bench::open();
    connection.send(b"question", soon()).unwrap();
    bench.rig.post(AGENT_RECEIVE, &[Piece::Write(DATA, 5)]);
    bench.rig.kick(AGENT_RECEIVE);
    assert_eq!((bench.rig.used(AGENT_RECEIVE).1, bench.rig.bytes(DATA, 5)), (5, b"quest".to_vec()));
    bench.rig.post(AGENT_RECEIVE, &[Piece::Write(DATA, 64)]);
    bench.rig.kick(AGENT_RECEIVE);
    assert_eq!((bench.rig.used(AGENT_RECEIVE).1, bench.rig.bytes(DATA, 3)), (3, b"ion".to_vec()));
    bench.rig.post(AGENT_RECEIVE, &[Piece::Write(DATA, 64)]);
    bench.rig.kick(AGENT_RECEIVE);
    connection.send(b"more", soon()).unwrap();
    assert_eq!((bench.rig.used(AGENT_RECEIVE).1, bench.rig.bytes(DATA, 4)), (4, b"more".to_vec()));
    bench.rig.fill(DATA, b"answer");
    bench.rig.request(AGENT_TRANSMIT, &[Piece::Read(DATA, 3), Piece::Read(DATA + 3, 3)]);
    assert_eq!(receive(&connection, 6), b"answer");
    assert!(bench.port.output.lock().unwrap().is_empty());
}

#[test]
fn a_guest_that_sends_more_than_is_read_waits_and_loses_nothing() {
    let (mut bench, connection) = Bench::open();
    // More than is kept, first in one chain that is longer than the buffer, then in several.
    let bytes = pattern(200_000);
    bench.rig.fill(DATA, &bytes);
    let pieces = [Piece::Read(DATA, 150_000), Piece::Read(DATA + 150_000, 20_000)];
    bench.rig.post(AGENT_TRANSMIT, &pieces);
    bench.rig.post(AGENT_TRANSMIT, &[Piece::Read(DATA + 170_000, 30_000)]);
    bench.rig.kick(AGENT_TRANSMIT);
    assert!(receive(&connection, 1000) == bytes[..1000]);
    // It continues where it was, also in another device.
    let mut bench = bench.moved();
    assert_eq!(bench.rig.used_index(AGENT_TRANSMIT), 0);
    // Moving did not close the port: the host's connection is the same.
    assert!(receive(&connection, 199_000) == bytes[1000..]);
    assert_eq!((bench.rig.used(AGENT_TRANSMIT).1, bench.rig.used(AGENT_TRANSMIT).1), (0, 0));
    // The console works meanwhile.
    bench.rig.post(AGENT_TRANSMIT, &[Piece::Read(DATA, 200_000)]);
    bench.rig.kick(AGENT_TRANSMIT);
    bench.rig.request(TRANSMIT, &[Piece::Read(DATA, 10)]);
    assert!(*bench.port.output.lock().unwrap() == bytes[..10]);
}

#[test]
fn what_one_program_sent_does_not_reach_the_reader_of_the_next() {
    let (mut bench, first) = Bench::open();
    bench.rig.fill(DATA + 0x1000, &pattern(200_000));
    let head = bench.rig.post(AGENT_TRANSMIT, &[Piece::Read(DATA + 0x1000, 200_000)]);
    bench.rig.kick(AGENT_TRANSMIT);
    receive(&first, 10);
    bench.say(1, 6, 0);
    // The data for which there was room can still be read, and the guest gets its buffer back.
    assert_eq!(bench.rig.used(AGENT_TRANSMIT), (head.into(), 0));
    assert_eq!(receive(&first, 100)[..], pattern(200)[10..110]);
    bench.say(1, 6, 1);
    let second = bench.agent.wait_open(soon()).unwrap();
    bench.rig.fill(DATA, b"new");
    bench.rig.request(AGENT_TRANSMIT, &[Piece::Read(DATA, 3)]);
    assert_eq!(receive(&second, 3), b"new");
    assert_eq!(first.receive(&mut [0], soon()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_driver_that_resets_the_device_closes_the_port() {
    let (mut bench, connection) = Bench::open();
    connection.send(b"unread", soon()).unwrap();
    bench.rig.set_status(0);
    assert!(!bench.agent.is_open());
    assert_eq!(connection.receive(&mut [0], soon()).unwrap_err().kind(), ErrorKind::NotFound);
    bench.rig.start(EVENT_IDX | MULTIPORT);
    bench.say(1, 6, 1);
    let connection = bench.agent.wait_open(soon()).unwrap();
    connection.send(b"new", soon()).unwrap();
    bench.rig.post(AGENT_RECEIVE, &[Piece::Write(DATA, 64)]);
    bench.rig.kick(AGENT_RECEIVE);
    assert_eq!((bench.rig.used(AGENT_RECEIVE).1, bench.rig.bytes(DATA, 3)), (3, b"new".to_vec()));
}

#[test]
fn a_console_moves_with_what_the_driver_waits_for() {
    let (mut bench, connection) = Bench::open();
    bench.say(0, 0, 1);
    bench.say(1, 3, 1);
    let mut bench = bench.moved();
    connection.send(b"still there", soon()).unwrap();
    for expected in [control(0, 1, 1), control(1, 1, 1), [control(1, 7, 1), NAME.into()].concat(), control(1, 6, 1)] {
        bench.room_for_control();
        assert_eq!(bench.hear(), expected);
    }
    bench.rig.post(AGENT_RECEIVE, &[Piece::Write(DATA, 64)]);
    bench.rig.kick(AGENT_RECEIVE);
    assert_eq!(bench.rig.used(AGENT_RECEIVE).1, 11);
    // None of that is left for the driver after a reset of the machine.
    bench.say(0, 0, 1);
    bench.rig.pci.pause();
    let saved = |rig: &Rig| rig.pci.save().unwrap().device;
    assert_ne!(saved(&bench.rig), DeviceState::Console(ConsoleState::default()));
    bench.rig.pci.reset().unwrap();
    assert_eq!(saved(&bench.rig), DeviceState::Console(ConsoleState::default()));
    assert!(!bench.agent.is_open());
}

#[test]
fn control_messages_of_any_sort_ask_for_little() {
    let mut bench = Bench::started(MULTIPORT);
    // Unknown messages, for ports that do not exist, of failures, and too short.
    for (port, event, value) in [(0, 99, 1), (2, 3, 1), (7, 6, 1), (u32::MAX, 6, 1), (0, 0, 0), (1, 3, 0), (1, 1, 1)] {
        bench.say(port, event, value);
    }
    bench.rig.request(CONTROL_TRANSMIT, &[Piece::Read(DATA, 7)]);
    bench.rig.request(CONTROL_TRANSMIT, &[Piece::Write(DATA, 64)]);
    // Repeated requests leave only one pending answer each.
    for _ in 0..100 {
        bench.say(0, 0, 1);
        bench.say(0, 3, 1);
        bench.say(1, 3, 1);
    }
    for _ in 0..8 {
        bench.room_for_control();
    }
    for _ in 0..6 {
        bench.hear();
    }
    bench.say(0, 99, 1);
    assert_eq!(bench.rig.used_index(CONTROL_RECEIVE), 6);
    // A buffer without room for the pending message.
    let mut bench = Bench::started(MULTIPORT);
    bench.rig.post(CONTROL_RECEIVE, &[Piece::Write(DATA, 7)]);
    bench.say(0, 0, 1);
    bench.rig.wait_needs_reset();
}
