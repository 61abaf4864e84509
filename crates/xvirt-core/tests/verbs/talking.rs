//! Consoles, and sockets between guest and host.

use std::io::{ErrorKind as IoKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;
use xvirt_core::vm::{Event, PowerState, Verb};
use xvirt_core::{Error, ErrorKind};

use crate::process;
use crate::program::Program;
use crate::random::Random;
use crate::subject::Subject;

/// The serving guest listens on this port, and not on the other.
const PORTS: [u32; 2] = [1000, 999];

pub fn act(subject: &Subject, random: &mut Random) {
    match random.below(6) {
        0..2 => write(subject, random),
        2 => read(subject),
        3 => listen(subject, random),
        _ => connect(subject, *random.pick(&PORTS), patience(random)),
    }
}

fn patience(random: &mut Random) -> Duration {
    Duration::from_millis(*random.pick(&[1, 20, 200]))
}

/// Sends commands that the serving guest executes, and others ignore.
fn write(subject: &Subject, random: &mut Random) {
    let text = *random.pick(&["ping\n", "status\n", "typed\n", "poweroff\n", "reboot\n", "crash\n"]);
    let (timeout, virtio) = (patience(random), random.below(2) == 0);
    let mut called = subject.call("write to a console", |vm| {
        let console = if virtio { vm.virtio_console() } else { vm.console() };
        console.write_all_timeout(text.as_bytes(), timeout)
    });
    let outcome = called.result.as_ref().err().map(Error::kind);
    let documented = called.comes_true(|window| match outcome {
        None => window.ever(|model| model.state != PowerState::Halted),
        Some(ErrorKind::InvalidState) => {
            window.ever(|model| model.state == PowerState::Halted) || window.events.iter().any(is_reset)
        }
        // A guest that does not read its input leaves no room for more.
        Some(kind) => kind == ErrorKind::Timeout,
    });
    if !documented {
        called.wrong("no documented outcome");
    }
}

fn is_reset(event: &Event) -> bool {
    matches!(event, Event::GuestReset | Event::HardReset | Event::Restarted)
}

fn read(subject: &Subject) {
    let called = subject
        .call("read the console", |vm| vm.console().reader().read_timeout(&mut [0; 4096], Duration::from_millis(1)));
    called.judge(|result, _| match result {
        Ok(length) => *length > 0,
        Err(error) => error.kind() == ErrorKind::Timeout,
    });
}

/// Every connection gets back what it sends, or is closed.
fn connect(subject: &Subject, port: u32, timeout: Duration) {
    let called = subject.call("vsock_connect", |vm| vm.vsock_connect(port, timeout));
    let reachable = subject.rules.program == Program::Serve && port == PORTS[0];
    let stream = called.judge(|result, window| match result {
        Ok(_) => reachable && window.allows(Verb::ConnectVsock),
        Err(error) => match error.kind() {
            ErrorKind::InvalidState => window.forbids(Verb::ConnectVsock),
            // The serving guest may not listen yet, or no longer.
            ErrorKind::NotFound | ErrorKind::Timeout => window.allows(Verb::ConnectVsock),
            _ => false,
        },
    });
    if let Some(stream) = stream {
        echo(subject, stream);
    }
}

fn echo(subject: &Subject, mut stream: UnixStream) {
    let mut back = [0; 5];
    let (sent, limit) = (b"hello", Some(Duration::from_millis(200)));
    let (done, _) = subject.bench().watch.during(&subject.name, "talk over vsock", || {
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        stream.write_all(sent)?;
        stream.read_exact(&mut back)
    });
    match done {
        Ok(()) if back == *sent => {}
        Ok(()) => subject.report(&format!("{back:?} came back over vsock")),
        // The guest was paused, or its machine was reset or halted.
        Err(error) => {
            let kinds = [IoKind::WouldBlock, IoKind::UnexpectedEof, IoKind::ConnectionReset, IoKind::BrokenPipe];
            if !kinds.contains(&error.kind()) {
                subject.report(&format!("talking over vsock ended with {error}"));
            }
        }
    }
}

/// Only one listener per port is allowed.
fn listen(subject: &Subject, random: &mut Random) {
    let port = 9000 + random.below(2) as u32;
    let called = subject.call("vsock_listen", |vm| vm.vsock_listen(port));
    let listener = called.judge(|result, _| result.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::Busy));
    let Some(listener) = listener else { return };
    if !subject.ports.lock().unwrap().insert(port) {
        subject.report(&format!("two listen on its port {port}"));
    }
    let address = listener.as_ref().local_addr().unwrap();
    // Threads that check whether there is a listener may have filled its backlog.
    let reached = process::connect_at_once(address.as_pathname().unwrap());
    if !matches!(reached, Ok(()) | Err(Errno::AGAIN)) {
        subject.report(&format!("who listens on its port {port} is reached with {reached:?}"));
    }
    subject.ports.lock().unwrap().remove(&port);
}
