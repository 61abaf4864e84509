//! Connections in programs that do not ignore SIGPIPE.

use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use super::*;
use crate::migrate::Socket;

/// Whether SIGPIPE waits to be delivered to this thread.
fn sigpipe_is_pending() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:")).unwrap();
    u64::from_str_radix(pending.trim(), 16).unwrap() & 1 << (Signal::SIGPIPE as u64 - 1) != 0
}

/// Sends until the connection breaks.
fn send_to_nobody<S: Socket + 'static>(socket: S) -> io::Error {
    let connection = Sockets::new([socket]).unwrap().connect(PATIENCE).unwrap();
    loop {
        match connection.send(&[1; 4096]) {
            // Of TCP, the peer has to say first that it is gone.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return error,
            _ => thread::yield_now(),
        }
    }
}

#[test]
fn a_connection_whose_peer_is_gone_raises_no_signal() {
    let work = || {
        // A blocked signal stays pending, even though Rust's runtime ignores this one.
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGPIPE);
        blocked.thread_block().unwrap();

        // The standard library avoids the signal for its own sockets, but not for others.
        for as_file in [false, true] {
            let (here, there) = UnixStream::pair().unwrap();
            drop(there);
            let error = if as_file { send_to_nobody(File::from(OwnedFd::from(here))) } else { send_to_nobody(here) };
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            assert!(!sigpipe_is_pending());
        }

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(send_to_nobody(here).kind(), io::ErrorKind::BrokenPipe);
        assert!(!sigpipe_is_pending());
    };
    thread::spawn(work).join().unwrap();
}
