//! Unix sockets: binds listeners safely, removes their files with their owner, and connects without unlimited waits.
//!
//! Connecting waits while the listener's backlog is full. On a non-blocking socket it fails instead, and cannot be
//! polled; on a blocking socket, `SO_SNDTIMEO` limits the wait (unix(7)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock};
use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};

use crate::descriptor::Descriptor;
use crate::process::Process;
use crate::wait::{Ended, Wait, cancelled};
use crate::{Error, ErrorKind, Result};

/// How long to wait for the lock of a folder, which its holders need only briefly.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// How long a call waits that connects, before the caller may cancel it.
const CONNECT_STEP: Duration = Duration::from_millis(20);

/// The file of a bound socket. It is removed on drop, by the process that created it, unless another file has replaced
/// it.
///
/// It must be dropped before its listener: a socket file without a listener is stale, so others may replace it at any
/// time, and the new file can have the same inode number.
#[derive(Debug)]
pub(crate) struct SocketFile {
    process: Process,
    path: PathBuf,
    identity: (u64, u64),
    removed: AtomicBool,
}

impl SocketFile {
    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file early.
    pub(crate) fn remove(&self) {
        if !self.process.is_current() || self.removed.swap(true, Ordering::Relaxed) {
            return;
        }
        let _lock = FolderLock::of(&self.path);
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // If it cannot be removed, the next owner finds it stale.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Serializes creating and removing sockets in a folder between users of this module. A socket file whose owner is
/// about to listen looks stale, and a stale one may be replaced before it is removed.
///
/// If locking is not possible, for example because the folder is not readable, there is no lock. The same applies if
/// the lock is held for longer than this module ever holds it, which any user who can read the folder can cause.
struct FolderLock(OwnedFd);

impl FolderLock {
    fn of(path: &Path) -> Option<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // `O_DIRECTORY` rejects other files without opening them; opening a FIFO would wait.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty()).ok()?;
        let began = Instant::now();
        loop {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Some(Self(folder)),
                Err(Errno::AGAIN) if began.elapsed() < LOCK_PATIENCE => thread::sleep(Duration::from_millis(1)),
                Err(_) => return None,
            }
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Unlocked explicitly, because a forked child may have the descriptor too.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Takes a listening unix stream socket from the program and makes it non-blocking. `what` names it in errors, as in
/// "vsock socket".
///
/// # Errors
/// [`InvalidConfig`](ErrorKind::InvalidConfig) if it is not such a socket.
pub(crate) fn given_listener(descriptor: &Descriptor, what: &str) -> Result<UnixListener> {
    let refused =
        |why: &str| descriptor.unfit(what, why).with_remedy("give a unix stream socket that listens: listen(2)");
    if !is_unix_stream(descriptor) {
        return Err(refused("it is not a unix stream socket"));
    }
    if !socket_acceptconn(descriptor).map_err(|errno| descriptor.cannot_ask(what, errno))? {
        return Err(refused("it does not listen"));
    }
    let listener = UnixListener::from(descriptor.duplicate()?);
    let failed = |error| Error::io(format!("cannot listen on {what} {}", descriptor.name()), error);
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Whether it is a unix stream socket.
pub(crate) fn is_unix_stream(socket: impl AsFd) -> bool {
    let unix = socket_domain(&socket).is_ok_and(|domain| domain == AddressFamily::UNIX);
    unix && socket_type(&socket).is_ok_and(|kind| kind == SocketType::STREAM)
}

/// Listens at `path` with a non-blocking socket that only this user can access; a stale socket file is replaced. `what`
/// names the socket in errors, such as "console socket".
///
/// # Errors
/// Another program listens there, the file is not a socket, or it cannot be created.
pub(crate) fn listen_at(path: &Path, what: &str) -> Result<(UnixListener, SocketFile)> {
    let shown = path.display();
    let failed = |errno: Errno| Error::io(format!("cannot listen on {what} {shown}"), errno.into());
    let address = SocketAddrUnix::new(path).map_err(|errno| {
        Error::new(ErrorKind::InvalidConfig, format!("{what} path {shown} is not a socket address"))
            .because(io::Error::from(errno))
            .with_remedy("use a path of at most 107 bytes")
    })?;
    let listener = stream_socket(SocketFlags::NONBLOCK).map_err(failed)?;
    // Before the file exists, so that it never has wider permissions.
    fchmod(&listener, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    let _lock = FolderLock::of(path);
    match bind(&listener, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path, what)?;
            bind(&listener, &address)
        }
        other => other,
    }
    .map_err(|errno| match errno {
        Errno::ADDRINUSE => busy(path, what),
        Errno::NOENT => failed(errno).with_remedy("create its folder first"),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            failed(errno).with_remedy("choose a folder this user may write to")
        }
        _ => failed(errno),
    })?;
    let identity = identity(path).map_err(|source| Error::io(format!("{what} {shown} vanished"), source))?;
    let (process, path, removed) = (Process::current(), path.to_owned(), AtomicBool::new(false));
    let file = SocketFile { process, path, identity, removed };
    listen(&listener, 16).map_err(failed)?;
    Ok((listener.into(), file))
}

/// Connects to the socket at `path` without waiting; the connection is non-blocking.
///
/// # Errors
/// `ResourceBusy` if the listener's backlog is full; any other error of the operating system.
pub(crate) fn connect_at_once(path: &Path) -> io::Result<OwnedFd> {
    let socket = stream_socket(SocketFlags::NONBLOCK)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => Ok(socket),
        Err(Errno::AGAIN) => Err(io::Error::new(io::ErrorKind::ResourceBusy, "the backlog of the listener is full")),
        Err(errno) => Err(errno.into()),
    }
}

/// Connects to the socket at `path`; the connection is blocking, without a timeout.
///
/// # Errors
/// `TimedOut` if the listener's backlog stayed full until the end of `wait`; one with an [`Error`] of the kind
/// `Cancelled` in it; any other error of the operating system.
pub(crate) fn connect_within(path: &Path, wait: Wait) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let stream = UnixStream::from(stream_socket(SocketFlags::empty())?);
    loop {
        // A timeout of zero would mean no timeout.
        let step = wait.left().unwrap_or(CONNECT_STEP).clamp(Duration::from_millis(1), CONNECT_STEP);
        stream.set_write_timeout(Some(step))?;
        match connect(&stream, &address) {
            Ok(()) => break,
            // Interrupted by a signal of the program, or the backlog is still full.
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        wait.check().map_err(|ended| match ended {
            Ended::TooLate => io::ErrorKind::TimedOut.into(),
            Ended::Cancelled => io::Error::other(cancelled(format_args!("a connection to {}", path.display()))),
        })?;
    }
    stream.set_write_timeout(None)?;
    Ok(stream)
}

fn stream_socket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | flags, None)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|found| (found.dev(), found.ino()))
}

/// Removes a stale socket file; rejects any other file.
fn remove_stale(path: &Path, what: &str) -> Result<()> {
    let shown = path.display();
    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("{shown} exists and is not a socket"))
            .with_remedy(format!("choose another path for the {what}")));
    }
    match connect_at_once(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .map_err(|source| Error::io(format!("cannot remove stale {what} {shown}"), source)),
        _ => Err(busy(path, what)),
    }
}

fn busy(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Busy, format!("another program already listens on {what} {}", path.display()))
        .with_remedy("choose another path, or stop the program that listens there")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    use super::*;

    /// Long enough for a busy machine; normally never reached.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A socket with a full backlog.
    struct Full {
        folder: tempfile::TempDir,
        listener: UnixListener,
        _file: SocketFile,
        _waiting: Vec<OwnedFd>,
    }

    impl Full {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (listener, file) = listen_at(&folder.path().join("socket"), "socket").unwrap();
            let waiting: Vec<_> = std::iter::from_fn(|| connect_at_once(file.path()).ok()).collect();
            assert!(!waiting.is_empty());
            Self { folder, listener, _file: file, _waiting: waiting }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("socket")
        }
    }

    /// The result of `call`, which must not depend on others.
    fn ends<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(call()));
        receiver.recv_timeout(PATIENCE).unwrap()
    }

    #[test]
    fn a_full_socket_keeps_nobody_waiting_longer_than_its_limit() {
        let full = Full::new();
        let path = full.path();
        let (error, took) = ends(move || {
            let began = Instant::now();
            (connect_within(&path, Wait::at_most(Duration::from_millis(50))).unwrap_err(), began.elapsed())
        });
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(took >= Duration::from_millis(50));
        assert_eq!(connect_at_once(&full.path()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        let path = full.path();
        let waiting = thread::spawn(move || connect_within(&path, Wait::at_most(PATIENCE)));
        // Makes room in the backlog.
        drop(full.listener.accept().unwrap());
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn a_path_in_a_fifo_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let error = ends(move || listen_at(&fifo.join("socket"), "console socket").unwrap_err());
        assert!(error.to_string().contains("Not a directory"), "{error}");
    }

    #[test]
    fn of_several_who_listen_at_a_path_at_once_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let (path, listening, times) = (folder.path().join("s"), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while times.load(Ordering::SeqCst) < 5000 {
                        let (listener, file) = match listen_at(&path, "socket") {
                            Ok(listening) => listening,
                            Err(error) if error.kind() == ErrorKind::Busy => continue,
                            Err(error) => panic!("{error}"),
                        };
                        assert_eq!(listening.fetch_add(1, Ordering::SeqCst), 0, "somebody else listens there");
                        // Concurrent checks for staleness may have filled its backlog.
                        let reached = connect_at_once(&path).map_err(|error| error.kind());
                        assert!(matches!(reached, Ok(_) | Err(io::ErrorKind::ResourceBusy)), "{reached:?}");
                        times.fetch_add(1, Ordering::SeqCst);
                        listening.fetch_sub(1, Ordering::SeqCst);
                        drop(file);
                        drop(listener);
                    }
                });
            }
        });
        assert!(!path.exists());
    }

    #[test]
    fn a_full_socket_is_somebody_elses() {
        let full = Full::new();
        let path = full.path();
        let error = ends(move || listen_at(&path, "test socket").unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Busy);
    }
}
