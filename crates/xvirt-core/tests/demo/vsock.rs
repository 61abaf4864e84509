//! Sockets between the demo guest, which sends back what it receives, and programs on the host.

use std::io::{ErrorKind as IoKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use xvirt_core::ErrorKind;
use xvirt_core::config::{VmConfig, Vsock};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::vm::Event;

use crate::echo::{pattern, round_trip};
use crate::host;
use crate::support::{Guest, PATIENCE, config};

struct Bench {
    guest: Guest,
    folder: tempfile::TempDir,
}

fn with_vsock(line: &CommandLine, folder: &tempfile::TempDir) -> VmConfig {
    config(line).vsock(Vsock::new(77, folder.path().join("v.sock")))
}

impl Bench {
    fn start(host: &Host) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let line = CommandLine::new([Mode::Vsock, Mode::Echo]);
        let mut guest = Guest::start(with_vsock(&line, &folder), host).unwrap();
        guest.expect("vsock: cid=77 ready");
        Self { guest, folder }
    }

    fn connect(&self, port: u32) -> UnixStream {
        patient(self.guest.vm.vsock_connect(port, PATIENCE).unwrap())
    }
}

fn patient(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn several_ports_and_connections_carry_megabytes_at_once() {
    let host = host!();
    let mut bench = Bench::start(&host);
    thread::scope(|scope| {
        for (i, port) in [1000, 1001, 1002, 1007, 1000, 1000].into_iter().enumerate() {
            let stream = bench.connect(port);
            scope.spawn(move || round_trip(stream, &pattern(2_000_000 + i, i)));
        }
    });
    // The device has notified the guest, too.
    for _ in 0..6 {
        bench.guest.expect(" closed");
    }
}

#[test]
fn a_guest_connects_to_listeners_of_its_host() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let line = CommandLine::new([Mode::Vsock]).vsock_connect(9000, 5);
    let vm = with_vsock(&line, &folder).build(&host).unwrap();
    let listener = vm.vsock_listen(9000).unwrap();
    vm.start().unwrap();
    thread::scope(|scope| {
        for i in 0..5 {
            let stream = patient(listener.accept().unwrap());
            scope.spawn(move || round_trip(stream, &pattern(300_000, i)));
        }
    });
    assert_eq!(vm.vsock_listen(9000).unwrap_err().kind(), ErrorKind::Busy);
    drop(listener);
    assert!(!folder.path().join("v.sock_9000").exists());
    assert!(folder.path().join("v.sock").exists());
    vm.hard_shutdown().unwrap();
    assert!(!folder.path().join("v.sock").exists(), "the socket outlives the VM's run");
}

#[test]
fn a_program_that_does_not_read_leaves_the_others_alone() {
    let host = host!();
    let bench = Bench::start(&host);
    let slow = bench.connect(1000);
    slow.set_nonblocking(true).unwrap();
    // Until the buffers of guest and device are full. A single write would block forever.
    let chunk = pattern(32 << 10, 1);
    let mut written = 0;
    let mut waits = 0;
    while waits < 20 {
        match (&slow).write(&chunk[written % chunk.len()..]) {
            Ok(count) => (written, waits) = (written + count, 0),
            Err(error) if error.kind() == IoKind::WouldBlock => {
                waits += 1;
                round_trip(bench.connect(1001), b"meanwhile");
            }
            Err(error) => panic!("{error}"),
        }
        assert!(written < 16 << 20, "there is no end to what is kept");
    }
    slow.set_nonblocking(false).unwrap();
    slow.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    (&slow).read_to_end(&mut back).unwrap();
    assert!(back.len() == written && back.chunks(chunk.len()).all(|part| chunk.starts_with(part)));
}

#[test]
fn what_cannot_be_reached_is_an_error_that_says_why() {
    let host = host!();
    let bench = Bench::start(&host);
    let refused = bench.guest.vm.vsock_connect(999, PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert_eq!(
        refused.to_string(),
        "nothing in VM 'demo' listens on vsock port 999; start the program in the guest first"
    );
    let again = with_vsock(&CommandLine::new([Mode::Vsock]), &bench.folder).build(&host).unwrap();
    assert_eq!(again.start().unwrap_err().kind(), ErrorKind::Busy);
    bench.guest.vm.hard_shutdown().unwrap();
    assert!(bench.guest.vm.vsock_connect(1000, PATIENCE).is_err());
    let none = config(&CommandLine::new([Mode::Hello])).build(&host).unwrap();
    assert_eq!(none.vsock_connect(1000, Duration::ZERO).unwrap_err().kind(), ErrorKind::InvalidState);
}

#[test]
fn a_reboot_disconnects_and_the_next_guest_is_reached() {
    let host = host!();
    let mut bench = Bench::start(&host);
    let mut stream = bench.connect(1000);
    bench.guest.vm.hard_reboot().unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    bench.guest.expect("vsock: cid=77 ready");
    round_trip(bench.connect(1000), &pattern(100_000, 9));
}

/// Nothing accepts on the socket of a paused VM, so its backlog soon fills up.
#[test]
fn a_connection_does_not_wait_longer_than_it_may() {
    let host = host!();
    let bench = Bench::start(&host);
    bench.guest.vm.pause().unwrap();
    let limit = Duration::from_millis(100);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Each fills a place in the backlog, and is closed only at the end.
            let path = bench.guest.vm.vsock_path().unwrap();
            let waiting: Vec<_> = (0..32).map_while(|_| waits_there(path)).collect();
            let began = Instant::now();
            let error = bench.guest.vm.vsock_connect(1000, limit).unwrap_err();
            sender.send((waiting.len(), error, began.elapsed())).unwrap();
        });
        let (waiting, error, took) = receiver.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            // Unpauses it, so that the test ends.
            bench.guest.vm.unpause().unwrap();
            panic!("the connection waits for ever: {error}");
        });
        assert!(waiting < 32, "there is room for any number");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let what = "VM 'demo' did not accept a connection to vsock port 1000 within 100ms; \
                    the VM must run, and its guest have a vsock driver";
        assert_eq!(error.to_string(), what);
        assert!(took >= limit);
    });
    bench.guest.vm.unpause().unwrap();
    round_trip(bench.connect(1000), b"afterwards");
}

/// A connection that is not accepted yet, if the backlog has room for it.
fn waits_there(path: &Path) -> Option<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).ok().map(|()| socket)
}

#[test]
fn whoever_waits_for_a_vm_hears_when_it_is_gone() {
    let host = host!();
    let Bench { guest: Guest { vm, console, events }, folder: _folder } = Bench::start(&host);
    let listener = Arc::new(vm.vsock_listen(9000).unwrap());
    let (sender, receiver) = mpsc::channel();
    let accepting = Arc::clone(&listener);
    thread::spawn(move || sender.send(accepting.accept().unwrap_err()));
    // All three can be polled together, and the borrowed descriptors stay valid.
    let waited = [listener.as_fd(), events.as_fd(), console.event_fd().unwrap()];
    while events.try_next().unwrap().is_some() {}
    vm.hard_shutdown().unwrap();
    assert_eq!(events.next_timeout(PATIENCE).unwrap().event, Event::HardShutdown);
    assert!(receiver.try_recv().is_err(), "a halted VM may be started again");
    drop(vm);
    let accepted = receiver.recv_timeout(PATIENCE).unwrap();
    assert_eq!(accepted.kind(), ErrorKind::Gone);
    assert_eq!(events.next_timeout(PATIENCE).unwrap().event, Event::Dropped);
    assert_eq!(events.next_timeout(PATIENCE).unwrap_err().kind(), ErrorKind::Gone);
    let mut polled = waited.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    assert_eq!(rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap(), 3);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Gone);
}
