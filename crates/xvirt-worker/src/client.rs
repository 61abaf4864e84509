//! A service's side of the protocol.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use crate::error::kind;
use crate::protocol::{
    Answer, ConsoleKind, Description, EventFrame, FEATURES, NumberedRequest, Outcome, Reply, Request, VERSIONS,
    Versions, decode, encode, receive, send,
};
use crate::{Error, Result};

/// How long the rest of a message may take once it has begun, and the begin of a connection without a limit of its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to the socket at `path`, and limits the time of the connection's calls as well. A worker that was stopped
/// (`SIGSTOP`, the freezer of its control group) accepts nothing, and each attempt takes a place in its queue: connect(2)
/// waits without end once that is full.
///
/// # Errors
/// [`kind::GONE`] if nobody listens there; [`kind::TIMEOUT`]; or the limit is zero.
pub fn connect(path: impl AsRef<Path>, limit: Duration) -> Result<UnixStream> {
    let path = path.as_ref();
    let cannot = |error: io::Error| {
        let what = format!("cannot connect to the worker at {}", path.display());
        if error.kind() == io::ErrorKind::NotFound {
            return Error::new(kind::GONE, format!("{what}: {error}"));
        }
        Error::io(what, &error)
    };
    let failed = |errno: Errno| cannot(errno.into());
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(failed)?;
    let socket = UnixStream::from(socket);
    socket.set_write_timeout(Some(limit)).and_then(|()| socket.set_read_timeout(Some(limit))).map_err(cannot)?;
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            // Nothing has begun: a unix socket is connected at once or not at all.
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// A connection to a worker: one request at a time. For several at once, connect several times.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    last_id: u64,
    version: u32,
    features: Vec<String>,
    worker: String,
    broken: bool,
}

impl Connection {
    /// Connects to the worker that listens on the socket at `path`, and agrees on a version.
    ///
    /// # Errors
    /// [`kind::GONE`] if no worker listens there; [`kind::TIMEOUT`] if it does not answer within 10 s; [`kind::VERSION`] if
    /// there is no common version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let connection = Self::over(connect(path, PATIENCE)?)?;
        connection.set_time_limit(None)?;
        Ok(connection)
    }

    /// Uses a connected socket, and agrees on a version.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn over(socket: UnixStream) -> Result<Self> {
        Self::negotiate(socket, VERSIONS, FEATURES)
    }

    /// Like [`over`](Self::over), as a service that speaks these versions and knows these features.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn negotiate(socket: UnixStream, versions: Versions, features: &[&str]) -> Result<Self> {
        let (features_of, worker) = (Vec::new(), String::new());
        let mut connection = Self { socket, last_id: 0, version: 0, features: features_of, worker, broken: false };
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        match connection.call(&Request::Hello { versions, features }, &[])? {
            Answer::Welcome { version, features, worker } if (versions.oldest..=versions.newest).contains(&version) => {
                (connection.version, connection.features, connection.worker) = (version, features, worker);
                Ok(connection)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The version that both sides speak.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether both sides have this feature.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
    }

    /// Whether a call has failed without an answer of the worker: it may have done what it was asked for, or still do it.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The version of the worker's program.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Limits how long a call waits for the worker; without a limit by default, because some verbs wait for the guest.
    ///
    /// # Errors
    /// The limit is zero.
    pub fn set_time_limit(&self, limit: Option<Duration>) -> Result<()> {
        let set = self.socket.set_read_timeout(limit).and_then(|()| self.socket.set_write_timeout(limit));
        set.map_err(|e| Error::io("cannot limit the time of calls to a worker", &e))
    }

    /// Sends a request with the descriptors that its slots mean, and waits for the answer.
    ///
    /// # Errors
    /// The worker's error; or [`kind::GONE`], [`kind::TIMEOUT`], [`kind::PROTOCOL`], after which the connection is of no
    /// more use.
    pub fn call(&mut self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<Answer> {
        let outcome = self.outcome(request, descriptors).inspect_err(|_| self.broken = true)?;
        match outcome {
            Outcome::Done(answer) => Ok(answer),
            Outcome::Failed(error) => Err(error),
        }
    }

    fn outcome(&mut self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<Outcome> {
        self.last_id += 1;
        let numbered = NumberedRequest { id: self.last_id, request: request.clone() };
        send(&self.socket, &encode(&numbered)?, descriptors)?;
        let frame = receive(&self.socket, PATIENCE)?
            .ok_or_else(|| Error::new(kind::GONE, "the worker has closed the connection"))?;
        let reply: Reply = decode(&frame.bytes)?;
        match reply.outcome {
            done @ Outcome::Done(_) if reply.id == self.last_id => Ok(done),
            failed @ Outcome::Failed(_) if reply.id == self.last_id || reply.id == 0 => Ok(failed),
            _ => Err(Error::new(kind::PROTOCOL, "the worker answered another request")),
        }
    }

    /// What the worker is and holds.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn describe(&mut self) -> Result<Description> {
        match self.call(&Request::Describe, &[])? {
            Answer::Description(description) => Ok(*description),
            other => Err(unexpected(&other)),
        }
    }

    /// Turns the connection into a stream of the events after number `after`; 0 for all that are still kept.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn events(mut self, after: u64) -> Result<EventStream> {
        self.call(&Request::Events { after }, &[])?;
        Ok(EventStream { socket: self.socket })
    }

    /// Turns the connection into a console of the VM: what is read is output, what is written is input.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn console(mut self, console: ConsoleKind) -> Result<UnixStream> {
        self.call(&Request::Console { console }, &[])?;
        Ok(self.socket)
    }

    /// As [`peer_process`].
    ///
    /// # Errors
    /// The kernel cannot tell it.
    pub fn peer_process(&self) -> Result<OwnedFd> {
        peer_process(&self.socket)
    }
}

/// A descriptor of the process that bound the socket at the other end, such as a worker's, or, for an accepted
/// connection, that connected (`SO_PEERPIDFD`, Linux 6.5).
///
/// # Errors
/// The kernel cannot tell it.
pub fn peer_process(socket: &UnixStream) -> Result<OwnedFd> {
    /// `SO_PEERPIDFD` of asm-generic/socket.h.
    const PEER_PIDFD: libc::c_int = 77;
    let mut descriptor: libc::c_int = -1;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the integer.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            PEER_PIDFD,
            (&raw mut descriptor).cast(),
            &raw mut length,
        )
    };
    if result != 0 || descriptor < 0 {
        return Err(Error::io("cannot find the process of a worker", &io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just made the descriptor for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The events of a worker's VM.
#[derive(Debug)]
pub struct EventStream {
    socket: UnixStream,
}

impl EventStream {
    /// Waits for the next event, at most `limit`; `None` once the worker has ended.
    ///
    /// # Errors
    /// [`kind::TIMEOUT`] if none came; [`kind::GONE`] if the worker died, [`kind::PROTOCOL`].
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Option<EventFrame>> {
        self.socket.set_read_timeout(limit).map_err(|e| Error::io("cannot wait for an event", &e))?;
        receive(&self.socket, PATIENCE)?.map(|frame| decode(&frame.bytes)).transpose()
    }
}

fn unexpected(answer: &Answer) -> Error {
    Error::new(kind::PROTOCOL, format!("the worker gave an answer that does not fit the request: {answer:?}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_listener_that_accepts_nothing_is_waited_for_only_so_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert_eq!(connect(&path, PATIENCE).unwrap_err().kind(), kind::GONE);
        let listener = UnixListener::bind(&path).unwrap();
        // A short queue.
        rustix::net::listen(&listener, 2).unwrap();
        let mut waiting = Vec::new();
        let error = loop {
            match connect(&path, Duration::from_millis(1)) {
                Ok(socket) => waiting.push(socket),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), kind::TIMEOUT, "{error}");
        drop(listener);
        assert_eq!(connect(&path, PATIENCE).unwrap_err().kind(), kind::GONE);
    }
}
