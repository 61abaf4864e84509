//! Connections to and from programs in the guest through its vsock device.

use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rustix::event::PollFlags;

use super::handle::Vm;
use super::state::Verb;
use crate::config::Vsock;
use crate::socket::{self, SocketFile};
use crate::sync::lock;
use crate::virtio;
use crate::wait::Wait;
use crate::{Error, ErrorKind, Result};

/// The longest answer is `OK 4294967295`.
const MAX_ANSWER: usize = 16;

/// Listens for connections from the guest to one port of its host. Dropping the listener or the VM refuses further
/// connections; halting the VM does not.
///
/// May be used from several threads. Its descriptor is readable while a connection waits or the VM is gone, for use in
/// the program's own event loop.
#[derive(Debug)]
pub struct VsockListener(Arc<Listening>);

#[derive(Debug)]
struct Listening {
    // Fields are dropped in this order: the file is removed before the socket is closed.
    file: SocketFile,
    listener: UnixListener,
    /// Whether the VM is gone. The listener is shut down then, which a non-blocking accept(2) does not report.
    ended: AtomicBool,
}

/// All listeners of a VM.
#[derive(Debug, Default)]
pub(super) struct VsockListeners(Mutex<Vec<Weak<Listening>>>);

impl VsockListeners {
    fn add(&self, listener: &Arc<Listening>) {
        let mut all = lock(&self.0);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(listener));
    }

    /// Ends all waits for a connection, current and future.
    pub(super) fn end(&self) {
        for listening in lock(&self.0).iter().filter_map(Weak::upgrade) {
            listening.file.remove();
            listening.ended.store(true, Ordering::Release);
            // Fails only for a descriptor that is not a socket.
            let _ = rustix::net::shutdown(&listening.listener, rustix::net::Shutdown::Both);
        }
    }
}

impl VsockListener {
    /// Waits for the next connection, as long as the VM exists.
    ///
    /// # Errors
    /// The VM was dropped ([`Gone`](ErrorKind::Gone)), or [`OutOfDescriptors`](ErrorKind::OutOfDescriptors).
    pub fn accept(&self) -> Result<UnixStream> {
        loop {
            if let Some(stream) = self.try_accept()? {
                return Ok(stream);
            }
            let what = format_args!("a connection on {}", self.0.file.path().display());
            // If another thread takes the connection, this one waits for the next.
            Wait::until(None)
                .ready(self, PollFlags::IN, what)
                .map_err(|error| Error::io(self.cannot_accept(), error))?;
        }
    }

    /// Takes a connection that waits, if there is one.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn try_accept(&self) -> Result<Option<UnixStream>> {
        match self.0.listener.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(_) if self.0.ended.load(Ordering::Acquire) => {
                Err(Error::new(ErrorKind::Gone, format!("{}: its VM is gone", self.cannot_accept())))
            }
            Err(error) if matches!(error.kind(), IoKind::WouldBlock | IoKind::Interrupted) => Ok(None),
            Err(error) => Err(Error::io(self.cannot_accept(), error)),
        }
    }

    fn cannot_accept(&self) -> String {
        format!("cannot accept a connection on {}", self.0.file.path().display())
    }
}

impl AsFd for VsockListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.listener.as_fd()
    }
}

impl AsRef<UnixListener> for VsockListener {
    /// For use in the program's own event loop. The listener is non-blocking.
    fn as_ref(&self) -> &UnixListener {
        &self.0.listener
    }
}

impl Vm {
    /// Connects to a program in the guest that listens on `port` (`AF_VSOCK`). Waits at most `timeout` for it to
    /// accept.
    ///
    /// # Errors
    /// The VM has no vsock device, is halted, or is halted while this waits
    /// ([`InvalidState`](ErrorKind::InvalidState)); nothing listens on that port in the guest
    /// ([`NotFound`](ErrorKind::NotFound)); or it takes too long ([`Timeout`](ErrorKind::Timeout)).
    pub fn vsock_connect(&self, port: u32, timeout: Duration) -> Result<UnixStream> {
        let path = &self.vsock()?.path;
        let (turn, _listed) = self.begin(Verb::ConnectVsock)?;
        drop(turn);
        let connected = self.connect(path, port, timeout);
        connected.map_err(|error| match error.kind() {
            ErrorKind::Cancelled => error,
            _ => self.still_allows(Verb::ConnectVsock).err().unwrap_or(error),
        })
    }

    fn connect(&self, path: &Path, port: u32, timeout: Duration) -> Result<UnixStream> {
        let wait = Wait::at_most(timeout);
        let failed = |error: io::Error| match error.kind() {
            IoKind::WouldBlock | IoKind::TimedOut => self
                .too_late(&format!("accept a connection to vsock port {port}"), timeout)
                .with_remedy("the VM must run, and its guest have a vsock driver"),
            _ => Error::io(format!("cannot reach vsock port {port} of VM '{}'", self.name()), error)
                .with_remedy("the VM must run, and its guest have a vsock driver"),
        };
        let stream = socket::connect_within(path, wait).map_err(failed)?;
        // One line fits into the buffer of a new socket, even before anything reads it.
        (&stream).write_all(format!("CONNECT {port}\n").as_bytes()).map_err(failed)?;
        if !granted(&stream, wait).map_err(failed)? {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("nothing in VM '{}' listens on vsock port {port}", self.name()),
            )
            .with_remedy("start the program in the guest first"));
        }
        Ok(stream)
    }

    /// Listens for connections from the guest to `port` of its host (CID 2), from now on; the VM need not run yet.
    ///
    /// # Errors
    /// The VM has no vsock device, or the port already has a listener.
    pub fn vsock_listen(&self, port: u32) -> Result<VsockListener> {
        let path = virtio::port_path(&self.vsock()?.path, port);
        let (listener, file) = socket::listen_at(&path, "vsock socket")?;
        let listening = Arc::new(Listening { file, listener, ended: AtomicBool::new(false) });
        self.inner.vsock_listeners.add(&listening);
        Ok(VsockListener(listening))
    }

    /// The Unix socket for host programs, if the VM has a vsock device.
    pub fn vsock_path(&self) -> Option<&Path> {
        self.inner.config.vsock.as_ref().map(|vsock| vsock.path.as_path())
    }

    fn vsock(&self) -> Result<&Vsock> {
        self.require_process()?;
        self.inner.config.vsock.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::InvalidState, format!("VM '{}' has no vsock device", self.name()))
                .with_remedy("give it one with VmConfig::vsock")
        })
    }
}

/// Reads the answer, and no byte after it. `false` means that nothing listens on the port.
fn granted(mut stream: &UnixStream, wait: Wait) -> io::Result<bool> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") && line.len() < MAX_ANSWER {
        if !wait.ready(stream, PollFlags::IN, "a program in the guest to accept a vsock connection")? {
            return Err(IoKind::TimedOut.into());
        }
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Ok(false),
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == IoKind::Interrupted => {}
            Err(error) if error.kind() == IoKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(line.starts_with(b"OK "))
}
