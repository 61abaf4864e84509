//! Tests both sides of a port, without a device.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::shared::LIMIT;
use super::{PortBackend, PortConnection, PortStream};
use crate::process::tests::in_child;
use crate::{Error, ErrorKind};

/// A port and the device that carries it.
struct Rig {
    stream: PortStream,
    device: Arc<dyn PortBackend>,
    event: Arc<EventFd>,
}

impl Rig {
    fn off() -> Self {
        let event = Arc::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let stream = PortStream::new("a.port", Arc::clone(&event));
        Self { device: stream.backend(), stream, event }
    }

    fn on() -> Self {
        let rig = Self::off();
        rig.stream.power_on();
        rig
    }

    fn open(&self) -> PortConnection {
        self.device.set_open(true);
        self.stream.wait_open(now()).unwrap()
    }

    /// Runs `act` once the host waits in `wait`, and returns the result of `wait`.
    fn meanwhile<T: Send, D>(&self, wait: impl FnOnce() -> T + Send, act: impl FnOnce() -> D) -> T {
        thread::scope(|scope| {
            let waiting = scope.spawn(wait);
            while self.stream.waiting() == 0 {
                thread::yield_now();
            }
            act();
            waiting.join().unwrap()
        })
    }
}

fn now() -> Option<Instant> {
    Some(Instant::now())
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(60))
}

fn received(connection: &PortConnection) -> Result<Vec<u8>, Error> {
    let mut bytes = [0; 64];
    connection.receive(&mut bytes, now()).map(|count| bytes[..count].to_vec())
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn bytes_pass_both_ways_and_in_order() {
    let rig = Rig::on();
    let connection = rig.open();
    assert_eq!(rig.device.output(b"one"), 3);
    assert_eq!(rig.device.output(b"two"), 3);
    assert_eq!(connection.receive(&mut [0; 2], now()).unwrap(), 2);
    assert_eq!(received(&connection).unwrap(), b"etwo");
    assert!(rig.event.read().is_err(), "the device was woken although it kept nothing");
    connection.send(b"question", now()).unwrap();
    assert!(rig.event.read().is_ok());
    let mut bytes = [0; 5];
    assert_eq!((rig.device.read_input(&mut bytes), &bytes), (5, b"quest"));
    assert_eq!((rig.device.read_input(&mut bytes), &bytes[..3]), (3, &b"ion"[..]));
    assert_eq!(rig.device.read_input(&mut bytes), 0);
}

#[test]
fn the_host_waits_for_the_guest() {
    let rig = Rig::on();
    assert!(!rig.stream.is_open());
    assert_eq!(kind(rig.stream.wait_open(now())), ErrorKind::Timeout);
    let connection = rig.meanwhile(|| rig.stream.wait_open(soon()), || rig.device.set_open(true)).unwrap();
    assert!(rig.stream.is_open());
    assert_eq!(kind(received(&connection)), ErrorKind::Timeout);
    let mut bytes = [0; 4];
    let count = rig.meanwhile(|| connection.receive(&mut bytes, soon()), || rig.device.output(b"late")).unwrap();
    assert_eq!((count, &bytes), (4, b"late"));
}

#[test]
fn what_has_no_room_waits_and_is_not_lost() {
    let rig = Rig::on();
    let connection = rig.open();
    // From the guest.
    let bytes = vec![7; LIMIT + 10];
    assert_eq!(rig.device.output(&bytes), LIMIT);
    assert_eq!(rig.device.output(&bytes[LIMIT..]), 0);
    assert!(rig.event.read().is_err());
    assert_eq!(received(&connection).unwrap().len(), 64);
    assert!(rig.event.read().is_ok(), "the device does not know that there is room again");
    assert_eq!(rig.device.output(&bytes[LIMIT..]), 10);
    // From the host.
    let error = connection.send(&bytes, now()).unwrap_err();
    let what = "the guest does not read port 'a.port': 65536 of 65546 bytes were accepted in time; \
                check that the VM runs, or wait longer";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Timeout, what));
    let mut taken = vec![0; LIMIT];
    let sent = rig.meanwhile(|| connection.send(b"more", soon()), || rig.device.read_input(&mut taken));
    sent.unwrap();
    assert_eq!((rig.device.read_input(&mut taken), &taken[..4]), (4, &b"more"[..]));
}

#[test]
fn a_connection_ends_with_the_opening_that_it_is_to() {
    let rig = Rig::on();
    let first = rig.open();
    first.send(b"unread", now()).unwrap();
    rig.device.output(b"last words");
    rig.device.set_open(false);
    assert_eq!(kind(first.send(b"x", now())), ErrorKind::NotFound);
    assert_eq!(received(&first).unwrap(), b"last words");
    assert_eq!(
        received(&first).unwrap_err().to_string(),
        "the program in the guest has closed port 'a.port'; check in the guest why it ended"
    );
    rig.device.set_open(true);
    rig.device.output(b"again");
    rig.device.set_open(false);
    let second = rig.open();
    assert_eq!(rig.device.read_input(&mut [0; 8]), 0, "the next program gets what the last one did not read");
    assert_eq!(kind(received(&second)), ErrorKind::Timeout);
    rig.device.output(b"new");
    assert_eq!(kind(received(&first)), ErrorKind::NotFound);
    assert_eq!(kind(first.send(b"x", now())), ErrorKind::NotFound);
    assert_eq!(received(&second).unwrap(), b"new");
}

#[test]
fn nothing_crosses_a_reset_or_a_halt() {
    type End = fn(&PortStream);
    let ends: [End; 2] = [PortStream::reset, |stream| {
        stream.power_off();
        stream.power_on();
    }];
    for end in ends {
        let rig = Rig::on();
        let first = rig.open();
        first.send(b"unread", now()).unwrap();
        rig.device.output(b"unheard");
        end(&rig.stream);
        assert!(!rig.stream.is_open());
        assert_eq!(kind(received(&first)), ErrorKind::InvalidState);
        // The device closes the port when it is reset; the reported cause must still be the VM's reset.
        rig.device.set_open(false);
        assert_eq!(kind(first.send(b"x", now())), ErrorKind::InvalidState);
        let second = rig.open();
        assert_eq!(rig.device.read_input(&mut [0; 8]), 0);
        assert_eq!(kind(received(&second)), ErrorKind::Timeout);
    }
}

#[test]
fn what_a_suspended_guest_has_not_received_is_dropped() {
    let rig = Rig::on();
    let connection = rig.open();
    connection.send(b"unread", now()).unwrap();
    rig.device.output(b"heard");
    rig.stream.suspend();
    rig.stream.go_on();
    assert_eq!(received(&connection).unwrap(), b"heard");
    connection.send(b"new", now()).unwrap();
    let mut bytes = [0; 8];
    assert_eq!((rig.device.read_input(&mut bytes), &bytes[..3]), (3, &b"new"[..]));
}

#[test]
fn whoever_waits_hears_of_every_end() {
    type End = fn(&Rig);
    let ends: [(End, ErrorKind); 4] = [
        (|rig| rig.device.set_open(false), ErrorKind::NotFound),
        (|rig| rig.stream.reset(), ErrorKind::InvalidState),
        (|rig| rig.stream.power_off(), ErrorKind::InvalidState),
        (|rig| rig.stream.close(), ErrorKind::Gone),
    ];
    for (end, expected) in ends {
        let rig = Rig::on();
        let connection = rig.open();
        assert_eq!(kind(rig.meanwhile(|| connection.receive(&mut [0], soon()), || end(&rig))), expected);
        let rig = Rig::on();
        let connection = rig.open();
        let bytes = vec![0; LIMIT + 1];
        assert_eq!(kind(rig.meanwhile(|| connection.send(&bytes, soon()), || end(&rig))), expected);
    }
    for (end, expected) in &ends[2..] {
        let rig = Rig::on();
        assert_eq!(kind(rig.meanwhile(|| rig.stream.wait_open(soon()), || end(&rig))), *expected);
    }
}

#[test]
fn a_halted_vm_has_nobody_to_wait_for() {
    let rig = Rig::off();
    let error = rig.stream.wait_open(None).unwrap_err();
    let what = "no program has port 'a.port' open: its VM is halted; start the VM first";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidState, what));
    rig.stream.close();
    rig.device.set_open(true);
    assert!(!rig.stream.is_open());
    assert_eq!(kind(rig.stream.wait_open(None)), ErrorKind::Gone);
}

/// A guest may still run for a moment when its VM counts as halted.
#[test]
fn a_guest_that_is_about_to_end_opens_the_port_for_nobody() {
    let rig = Rig::on();
    rig.stream.power_off();
    rig.device.set_open(true);
    rig.device.output(b"late");
    assert!(!rig.stream.is_open());
    assert_eq!(kind(rig.stream.wait_open(None)), ErrorKind::InvalidState);
    rig.stream.power_on();
    assert!(!rig.stream.is_open());
    assert_eq!(kind(received(&rig.open())), ErrorKind::Timeout);
}

#[test]
fn what_nobody_has_open_is_not_kept() {
    let rig = Rig::on();
    assert_eq!(rig.device.output(&vec![0; 2 * LIMIT]), 2 * LIMIT);
    assert_eq!(kind(received(&rig.open())), ErrorKind::Timeout);
}

#[test]
fn a_child_of_fork_has_no_port() {
    let rig = Rig::on();
    let connection = rig.open();
    rig.device.output(b"for the parent");
    assert!(in_child(|| {
        let refused = [kind(rig.stream.wait_open(None)), kind(connection.receive(&mut [0], None))];
        !rig.stream.is_open() && refused == [ErrorKind::InvalidState; 2]
    }));
    assert_eq!(received(&connection).unwrap(), b"for the parent");
}
