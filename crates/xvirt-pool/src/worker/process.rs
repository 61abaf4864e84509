//! One worker: talking to it, and waiting for its end.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use uuid::Uuid;
use xvirt_worker::protocol::{Answer, Request};
use xvirt_worker::{Connection, Error, EventStream, connect, kind, peer_process};

use super::identity::Identity;
use super::{End, Place};
use crate::operation::{Failure, codes};
use crate::sync::lock;

/// How long a worker may take for a request that waits for no guest.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often failures of disks are told, in milliseconds.
const TELL_EVERY: u64 = 60_000;
/// How long a worker may take to begin, and to answer its first request.
const GREETING: Duration = Duration::from_secs(20);
/// How long it may take to begin to tell its events. It is asked again.
const WATCH: Duration = Duration::from_secs(10);
/// How long passes before one that hung up is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// A worker that lives, or did when it was last seen.
pub(crate) struct Worker {
    /// The UUID of its VM.
    pub(crate) vm: Uuid,
    /// The epoch of its owner.
    pub(crate) epoch: u64,
    /// Where its files are.
    pub(crate) place: Place,
    process: OwnedFd,
    /// The positions of its disks and network interfaces, by the UUIDs of their VBDs and VIFs. A worker that takes the VM
    /// over has the same.
    pub(crate) disks: Arc<Mutex<BTreeMap<Uuid, u64>>>,
    /// See `disks`.
    pub(crate) nics: Arc<Mutex<BTreeMap<Uuid, u64>>>,
    /// Whether it has taken the VM over from a worker that an earlier service asked to hand it over.
    pub(crate) took_over: bool,
    /// When a failure of a disk was told last, in milliseconds since the host was started.
    told: Mutex<Option<u64>>,
    /// What its watcher waits on.
    watched: Mutex<Watched>,
    /// How it ended, once that is decided.
    over: Mutex<Option<End>>,
    changed: Condvar,
    hand_over: Mutex<HandOver>,
    decided: Condvar,
}

/// Whether a worker hands its VM over to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandOver {
    /// It has the VM.
    None,
    /// It is not decided yet which of the two has it.
    Undecided,
    /// The other one has it.
    Done,
}

/// What a watcher waits on.
#[derive(Default)]
struct Watched {
    stream: Option<UnixStream>,
    given_up: bool,
}

impl Worker {
    /// Finds the worker that listens at a place, and answers. `None` if there is none.
    ///
    /// # Errors
    /// It cannot be reached or does not answer, which does not mean that it is not there.
    pub(crate) fn find(vm: Uuid, epoch: u64, place: Place) -> Result<Option<Self>, Failure> {
        Self::find_within(vm, epoch, place, GREETING)
    }

    /// As [`find`](Self::find), if it answers within `patience`.
    pub(crate) fn find_within(vm: Uuid, epoch: u64, place: Place, patience: Duration) -> Result<Option<Self>, Failure> {
        let deadline = Instant::now() + patience;
        // Until it answers once, the socket may still be that of the service that made it. That it answers again on the
        // connection that told its process says that this is still the process.
        let mut answered = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(PAUSE);
            let Some(socket) = nobody(connect(place.socket(), left))? else { return Ok(None) };
            let number = socket_peercred(&socket).map(|peer| peer.pid);
            let process = process_of(&socket);
            match Connection::over(socket) {
                Ok(_) if answered => {
                    let worker = Self::new(vm, epoch, place, process?);
                    let identity = number.ok().and_then(Identity::of);
                    // While it lives, nobody else has its number.
                    if let Some(identity) = identity.filter(|_| !worker.wait(Some(Duration::ZERO))) {
                        worker.place.note_process(identity);
                    }
                    return Ok(Some(worker));
                }
                Ok(_) => answered = true,
                // It ended before it answered, and then nobody listens any more; or it has no room for connections.
                Err(error) if error.kind() == kind::GONE && Instant::now() < deadline => thread::sleep(PAUSE),
                Err(error) => return Err(codes::of_worker(&error)),
            }
        }
    }

    /// Finds the worker of a place without asking it anything, because it may hang. `None` if there is none.
    ///
    /// # Errors
    /// There is one, and its process cannot be told.
    pub(crate) fn find_unasked(vm: Uuid, epoch: u64, place: Place) -> Result<Option<Self>, Failure> {
        if let Some(process) = place.process() {
            return Ok(Some(Self::new(vm, epoch, place, process)));
        }
        let Some(socket) = nobody(connect(place.socket(), PAUSE))? else { return Ok(None) };
        if socket_peercred(&socket).is_ok_and(|peer| peer.pid == getpid()) {
            return Err(codes::internal("the worker is still being made").with_remedy("try again in a moment"));
        }
        let process = process_of(&socket)?;
        // Only the process itself has the listening socket: as long as somebody listens, the number is still its own.
        match connect(place.socket(), PAUSE) {
            Err(error) if error.kind() == kind::GONE => Ok(None),
            _ => Ok(Some(Self::new(vm, epoch, place, process))),
        }
    }

    fn new(vm: Uuid, epoch: u64, place: Place, process: OwnedFd) -> Self {
        Self {
            vm,
            epoch,
            place,
            process,
            disks: Arc::default(),
            nics: Arc::default(),
            took_over: false,
            told: Mutex::default(),
            watched: Mutex::default(),
            over: Mutex::default(),
            changed: Condvar::new(),
            hand_over: Mutex::new(HandOver::None),
            decided: Condvar::new(),
        }
    }

    /// The worker that has taken the VM over, as one of the same VM.
    #[must_use]
    pub(crate) fn instead_of(self, old: &Self) -> Self {
        let told = Mutex::new(*lock(&old.told));
        Self { disks: Arc::clone(&old.disks), nics: Arc::clone(&old.nics), told, ..self }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.place.socket()
    }

    /// Connects to it; its calls may take as long as `patience`. The stream is a copy of the connection's, by which a call
    /// can be given up.
    pub(crate) fn connect(&self, patience: Option<Duration>) -> xvirt_worker::Result<(Connection, UnixStream)> {
        let cannot = |error: std::io::Error| Error::io("cannot connect to a worker", &error);
        let socket = connect(self.socket(), patience.map_or(PATIENCE, |patience| patience.min(PATIENCE)))?;
        let copy = socket.try_clone().map_err(cannot)?;
        let connection = Connection::over(socket)?;
        connection.set_time_limit(patience)?;
        Ok((connection, copy))
    }

    /// Sends a request that waits for no guest.
    pub(crate) fn ask(&self, request: &Request, files: &[BorrowedFd<'_>]) -> xvirt_worker::Result<Answer> {
        self.connect(Some(PATIENCE))?.0.call(request, files)
    }

    /// The events after a number. [`give_up_watch`](Self::give_up_watch) ends the stream, or the attempt.
    pub(crate) fn events(&self, after: u64) -> xvirt_worker::Result<EventStream> {
        let socket = connect(self.socket(), WATCH)?;
        let copy = socket.try_clone().map_err(|error| Error::io("cannot watch a worker", &error))?;
        {
            let mut watched = lock(&self.watched);
            if watched.given_up {
                return Err(Error::new(kind::GONE, "nobody wants the events of the worker any more"));
            }
            watched.stream = Some(copy);
        }
        Connection::over(socket)?.events(after)
    }

    /// Lets go of the stream of events, for good.
    pub(crate) fn give_up_watch(&self) {
        let mut watched = lock(&self.watched);
        watched.given_up = true;
        if let Some(stream) = watched.stream.take() {
            // Fails if it is over already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits until the process has ended, at most `limit`; for ever without one. Returns whether it has.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> bool {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            let left = deadline.map(|deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                let tv_sec = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
                Timespec { tv_sec, tv_nsec: left.subsec_nanos().into() }
            });
            let mut waiting = [PollFd::new(&self.process, PollFlags::IN)];
            match poll(&mut waiting, left.as_ref()) {
                Err(Errno::INTR) => {}
                Ok(count) => return count > 0,
                Err(_) => return false,
            }
        }
    }

    /// Ends a worker whose VM is not in memory: asks it, and kills it if it does not. Returns whether it has ended.
    pub(crate) fn discard(&self) -> bool {
        let asked = self.connect(Some(PATIENCE)).and_then(|(mut connection, _)| connection.call(&Request::End, &[]));
        if asked.is_ok() && self.wait(Some(PATIENCE)) {
            return true;
        }
        self.kill();
        let ended = self.wait(Some(PATIENCE));
        if !ended {
            tracing::error!(vm = %self.vm, "a worker was killed and does not end: see in the kernel's log what it waits for");
        }
        ended
    }

    /// Whether a failure of a disk may be told now: a guest can cause any number of them.
    pub(crate) fn may_tell_of_disk(&self, now: u64) -> bool {
        let mut told = lock(&self.told);
        let may = told.is_none_or(|last| now.saturating_sub(last) >= TELL_EVERY);
        if may {
            *told = Some(now);
        }
        may
    }

    /// Kills the process.
    pub(crate) fn kill(&self) {
        // Fails if it has ended.
        let _ = pidfd_send_signal(self.process.as_fd(), Signal::KILL);
    }

    /// The process, as the kernel numbers it.
    ///
    /// # Errors
    /// The worker cannot be reached.
    pub(crate) fn number(&self) -> Result<Pid, Failure> {
        let socket = nobody(connect(self.socket(), GREETING))?;
        let socket = socket.ok_or_else(codes::just_ended)?;
        let peer = socket_peercred(&socket).map(|peer| peer.pid);
        peer.map_err(|errno| codes::internal(format!("cannot find the process of a worker: {errno}")))
    }

    /// Says that the worker is about to hand its VM over, until the result is dropped.
    pub(crate) fn begin_hand_over(&self) -> Undecided<'_> {
        *lock(&self.hand_over) = HandOver::Undecided;
        Undecided { worker: self, done: false }
    }

    /// Whether another worker has the VM now. Waits until that is decided.
    pub(crate) fn is_replaced(&self) -> bool {
        let state = lock(&self.hand_over);
        let decided = self.decided.wait_while(state, |state| *state == HandOver::Undecided);
        *decided.unwrap_or_else(PoisonError::into_inner) == HandOver::Done
    }

    /// Whether it is decided that another worker has the VM.
    pub(crate) fn was_replaced(&self) -> bool {
        *lock(&self.hand_over) == HandOver::Done
    }

    /// Says how the worker ended, which is in the records now, or will be once the store has room.
    pub(crate) fn set_over(&self, end: End) {
        *lock(&self.over) = Some(end);
        self.changed.notify_all();
    }

    /// Waits until the end of the worker is known, at most `limit`.
    pub(crate) fn wait_over(&self, limit: Duration) -> Option<End> {
        let over = lock(&self.over);
        let waited = self.changed.wait_timeout_while(over, limit, |over| over.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

/// A hand-over that goes on. If this is dropped, the worker has kept its VM.
#[derive(Debug)]
pub(crate) struct Undecided<'a> {
    worker: &'a Worker,
    done: bool,
}

impl Undecided<'_> {
    /// Says that another worker has the VM.
    pub(crate) fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        *lock(&self.worker.hand_over) = if self.done { HandOver::Done } else { HandOver::None };
        self.worker.decided.notify_all();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("vm", &self.vm).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// `None` if nobody listens. Whoever began to listen but has not accepted yet is there.
fn nobody(connected: xvirt_worker::Result<UnixStream>) -> Result<Option<UnixStream>, Failure> {
    match connected {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == kind::GONE => Ok(None),
        Err(error) => Err(codes::of_worker(&error)),
    }
}

/// The process that listens on the socket at the other end.
fn process_of(socket: &UnixStream) -> Result<OwnedFd, Failure> {
    peer_process(socket).or_else(|_| {
        // `SO_PEERPIDFD` needs Linux 6.5. A number can belong to another process by now: the caller checks that.
        let number = socket_peercred(socket).map(|peer| peer.pid);
        let process = number.and_then(|number| pidfd_open(number, PidfdFlags::empty()));
        process.map_err(|errno| codes::internal(format!("cannot find the process of a worker: {errno}")))
    })
}

/// Kills the process that listens at a place where nobody has a VM, and with which one cannot talk.
pub(crate) fn kill_stranger(place: &Place) {
    let Ok(socket) = connect(place.socket(), GREETING) else { return };
    // A program that has not called listen(2) has the socket as this service made it.
    let number = socket_peercred(&socket).map(|peer| peer.pid);
    let process = number
        .and_then(|number| if number == getpid() { Err(Errno::SRCH) } else { pidfd_open(number, PidfdFlags::empty()) });
    if let Err(errno) = process.and_then(|process| pidfd_send_signal(process, Signal::KILL)) {
        tracing::error!(%errno, socket = %place.socket().display(), "a process that is no worker of this version cannot be ended");
    }
}
