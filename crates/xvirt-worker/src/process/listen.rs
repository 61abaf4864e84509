//! Accepts connections, as long as the worker lives.

use std::io::{self, PipeWriter};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::begin::tell_ready;
use super::{Place, Worker, connection, lock, signals};
use crate::{Error, Result};

/// How many connections are served at once. Further ones are closed.
const MAX_CONNECTIONS: usize = 32;
/// How long connections may take for their last replies and events.
const LAST_REPLIES: Duration = Duration::from_secs(10);
/// What serving a connection needs, even in a debug build.
const STACK: usize = 1 << 20;
/// How long to wait when the process or the host has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves connections until the worker ends.
pub(super) fn serve(worker: &Arc<Worker>, socket: &UnixListener, ready: PipeWriter) -> Result<()> {
    signals::log().map_err(|e| Error::io("cannot start a thread", &e))?;
    socket.set_nonblocking(true).map_err(|e| Error::io("cannot use the socket of the worker", &e))?;
    tell_ready(ready);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the worker accepts connections");
    let mut full = false;
    while wait(worker, socket) {
        accept(worker, socket, &mut full);
    }
    worker.history.end();
    // Drops the VM, unless a connection still replies about it.
    let last = mem::replace(&mut *lock(&worker.place), Place::Closed);
    drop(last);
    worker.end.wait_served(LAST_REPLIES);
    Ok(())
}

/// Waits for a connection; `false` once the worker ends.
fn wait(worker: &Worker, socket: &UnixListener) -> bool {
    let mut waiting = [PollFd::new(socket, PollFlags::IN), PollFd::new(&*worker.end, PollFlags::IN)];
    // An interruption is not an end.
    let _ = poll(&mut waiting, None);
    !worker.end.is_near()
}

/// Accepts a connection. `full` says whether the last one was refused, which is logged once.
fn accept(worker: &Arc<Worker>, socket: &UnixListener, full: &mut bool) {
    let stream = match socket.accept() {
        Ok((stream, _)) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            thread::sleep(ACCEPT_PAUSE);
            return;
        }
    };
    match peer(&stream) {
        Ok(user) if user == 0 || user == worker.settings.peer_uid => {}
        Ok(user) => return tracing::warn!(user, "refused a connection of another user"),
        Err(error) => return tracing::warn!(%error, "refused a connection of an unknown user"),
    }
    if !worker.end.begin_serving(MAX_CONNECTIONS) {
        if !mem::replace(full, true) {
            tracing::warn!("refused a connection: {MAX_CONNECTIONS} are open");
        }
        return;
    }
    *full = false;
    let of_thread = Arc::clone(worker);
    let serve = move || {
        let served = Served(of_thread);
        if let Err(error) = connection::serve(&served.0, &stream) {
            tracing::info!(%error, "a connection has ended");
        }
    };
    let started = thread::Builder::new().name("connection".to_owned()).stack_size(STACK).spawn(serve);
    if let Err(error) = started {
        worker.end.end_serving();
        tracing::warn!(%error, "cannot serve a connection");
    }
}

/// Counts a connection while it is served, even if its thread panics.
struct Served(Arc<Worker>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.end.end_serving();
    }
}

/// The user of the process that connected (`SO_PEERCRED`). Its number is 0 here, which `rustix` cannot represent: the
/// worker is in a namespace of processes of its own.
fn peer(stream: &UnixStream) -> rustix::io::Result<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the struct.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(credentials.uid)
    } else {
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}
