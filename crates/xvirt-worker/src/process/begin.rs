//! The beginning of a worker: it inherits its descriptors, enters the sandbox, and leaves its starter.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::panic;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use super::{End, History, Place, Worker, failed, listen, log, signals};
use crate::launch::{EXIT_RECORD, FIRST_OTHER, SOCKET};
use crate::sandbox::Sandbox;
use crate::{Cause, Error, ExitRecord, Result, Settings, kind};

/// How many connections wait to be accepted.
const BACKLOG: i32 = 16;

/// Runs the worker that [`launch`](crate::launch) starts, until it ends. Its only argument is its [`Settings`]; the
/// socket, the exit record and the log are the descriptors 3, 4 and 2.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let Some((socket, record)) = inherited() else {
        eprintln!("xvirt-worker is started by a host service (xvirt_worker::launch), with open descriptors");
        return failed();
    };
    signals::block();
    let begun = begin(arguments, socket, &record);
    match begun {
        Ok(Side::Starter(mut ready)) => {
            // The byte says that the worker accepts connections.
            if ready.read_exact(&mut [0]).is_ok() { ExitCode::SUCCESS } else { failed() }
        }
        Ok(Side::Worker(worker, socket, ready)) => match listen::serve(&Arc::new(*worker), &socket, ready) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => not_started(&record, error),
        },
        Ok(Side::Failed(status)) => status,
        Err(error) => not_started(&record, error),
    }
}

/// The two processes that a starter's child becomes.
enum Side {
    /// The one that tells the starter.
    Starter(PipeReader),
    /// The worker, in its sandbox.
    Worker(Box<Worker>, UnixListener, PipeWriter),
    /// The worker, which could not begin.
    Failed(ExitCode),
}

fn begin(mut arguments: impl Iterator<Item = String>, socket: UnixListener, record: &File) -> Result<Side> {
    let invalid = |what: String| Error::new(kind::INVALID_CONFIG, what);
    let argument = arguments.next().ok_or_else(|| invalid("there are no settings".to_owned()))?;
    let settings: Settings =
        serde_json::from_str(&argument).map_err(|error| invalid(format!("cannot read the settings: {error}")))?;
    let cannot = |error: io::Error| Error::io("cannot begin the worker", &error);
    log::begin(&settings.log_level)?;
    let (ready, tell) = io::pipe().map_err(cannot)?;
    let mut sandbox = Sandbox::new(settings.clone());
    sandbox.unshare();
    // SAFETY: the process has only this thread.
    match unsafe { libc::fork() } {
        0 => drop(ready),
        child if child > 0 => return Ok(Side::Starter(ready)),
        _ => return Err(cannot(io::Error::last_os_error())),
    }
    Ok(match enter(settings, sandbox, &socket, record) {
        Ok(worker) => Side::Worker(Box::new(worker), socket, tell),
        // The record is there before the starter learns of it, by the end of the pipe.
        Err(error) => Side::Failed(not_started(record, error)),
    })
}

/// Enters the sandbox, and lets the socket accept connections.
fn enter(settings: Settings, sandbox: Sandbox, socket: &UnixListener, record: &File) -> Result<Worker> {
    let cannot = |error: io::Error| Error::io("cannot begin the worker", &error);
    let record = record.try_clone().map_err(cannot)?;
    signals::record(&record, None).map_err(cannot)?;
    let end = Arc::new(End::new(record).map_err(cannot)?);
    let missing_walls = sandbox.enter();
    for missing in &missing_walls {
        tracing::warn!(wall = missing.wall, reason = missing.reason, "a wall of the sandbox does not stand");
        if settings.required.iter().any(|wall| wall.name() == missing.wall) {
            let what = format!("the wall '{}' does not stand: {}", missing.wall, missing.reason);
            return Err(Error::new(kind::HOST_UNSUPPORTED, what)
                .with_remedy("give the host what it needs, or do not require it"));
        }
    }
    let of_hook = Arc::clone(&end);
    panic::set_hook(Box::new(move |info| {
        tracing::error!("{info}");
        of_hook.panicked(info.to_string());
    }));
    // Whoever connects from now on sees this process as the peer, not the starter (unix(7), SO_PEERCRED).
    rustix::net::listen(socket, BACKLOG).map_err(|errno| cannot(errno.into()))?;
    Ok(Worker { settings, missing_walls, place: Mutex::new(Place::Empty), history: Arc::new(History::default()), end })
}

/// Tells the starter that the worker accepts connections.
pub(super) fn tell_ready(mut tell: PipeWriter) {
    // The starter may have been killed; the worker lives on.
    let _ = tell.write_all(b"!");
}

/// Takes the inherited descriptors, and closes all others.
fn inherited() -> Option<(UnixListener, File)> {
    // SAFETY: these numbers are above those that are used here.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST_OTHER, u32::MAX, 0) };
    let take = |number| {
        // SAFETY: only asks whether the descriptor is open, and sets that programs do not inherit it.
        let open = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
        // SAFETY: it is open, was inherited, and nobody else here knows it.
        open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
    };
    let socket = take(SOCKET)?;
    let record = take(EXIT_RECORD)?;
    let listens = rustix::net::sockopt::socket_acceptconn(socket.as_fd()).unwrap_or(false);
    listens.then(|| (UnixListener::from(socket), File::from(record)))
}

fn not_started(record: &File, error: Error) -> ExitCode {
    eprintln!("xvirt-worker: {error}");
    let written = ExitRecord::new(None, Cause::NotStarted { error }).write(record);
    if let Err(error) = written {
        eprintln!("xvirt-worker: cannot write the exit record: {error}");
    }
    failed()
}
