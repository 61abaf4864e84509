//! Serves one connection: one request at a time, each on the connection's own thread.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use xvirt_core::console::ConnectionAttachment;
use xvirt_core::progress::interruptible;

use super::Worker;
use super::history::Next;
use super::verbs::{self, Done};
use crate::protocol::{
    Answer, Frame, Outcome, Reply, Request, VERSIONS, Versions, common_features, decode_request, encode, receive, send,
};
use crate::{Error, Result, kind};

/// How long the rest of a message may take once it has begun, and how long a peer may take to read.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many connections may be consoles and streams of events; the others are for requests.
const MAX_STREAMS: usize = 24;
/// How often a console is looked at while the rest of its output is sent at the end.
const LOOK: Duration = Duration::from_millis(5);

/// Serves a connection until its peer hangs up or the worker ends.
pub(super) fn serve(worker: &Worker, socket: &UnixStream) -> Result<()> {
    socket.set_write_timeout(Some(PATIENCE)).map_err(|e| Error::io("cannot use a connection", &e))?;
    let mut greeted = false;
    while wait(worker, socket)? {
        let Some(Frame { bytes, descriptors }) = receive(socket, PATIENCE)? else { return Ok(()) };
        let numbered = match decode_request(&bytes) {
            Ok(numbered) => numbered,
            Err((Some(id), error)) => {
                reply(socket, id, Outcome::Failed(error))?;
                continue;
            }
            Err((None, error)) => {
                reply(socket, 0, Outcome::Failed(error.clone()))?;
                return Err(error);
            }
        };
        let id = numbered.id;
        let done = match numbered.request {
            Request::Hello { versions, features } => hello(&mut greeted, versions, &features),
            _ if !greeted => Err(Error::new(kind::PROTOCOL, "the first request was not a hello")),
            request if waits(&request) => {
                let check = is_given_up(worker, socket)?;
                interruptible(check, || verbs::carry_out(worker, request, descriptors))
            }
            request => verbs::carry_out(worker, request, descriptors),
        };
        match done {
            Ok(Done::Answer(answer)) => reply(socket, id, Outcome::Done(answer))?,
            Err(error) => reply(socket, id, Outcome::Failed(error))?,
            Ok(Done::Events(_) | Done::Console(_)) if !worker.end.begin_stream(MAX_STREAMS) => {
                let what = format!("{MAX_STREAMS} consoles and streams of events are open");
                let error = Error::new(kind::LIMIT_EXCEEDED, what).with_remedy("close one of them first");
                reply(socket, id, Outcome::Failed(error))?;
            }
            Ok(Done::Events(after)) => {
                let _open = Stream(worker);
                reply(socket, id, Outcome::Done(Answer::Nothing))?;
                return events(worker, socket, after);
            }
            Ok(Done::Console(console)) => {
                let _open = Stream(worker);
                reply(socket, id, Outcome::Done(Answer::Nothing))?;
                let cannot = |error| Error::io("cannot use a connection as a console", &error);
                let attached = console.attach_connection(OwnedFd::from(socket.try_clone().map_err(cannot)?))?;
                // Otherwise the VM, which it belongs to, would live on with it.
                drop(console);
                return wait_for_console(worker, socket, &attached);
            }
        }
    }
    Ok(())
}

/// Counts a console or a stream of events while it is open.
struct Stream<'a>(&'a Worker);

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.0.end.end_stream();
    }
}

/// Whether a request may take long, and leaves the VM as its timeout would when nobody waits for it any more.
fn waits(request: &Request) -> bool {
    matches!(
        request,
        Request::CleanShutdown { .. }
            | Request::CleanReboot { .. }
            | Request::UnplugDisk { .. }
            | Request::UnplugNic { .. }
            | Request::Suspend { .. }
            | Request::Resume { .. }
    )
}

/// Tells whether a request that waits is to end: its peer has hung up, or no longer sends, or the worker is to end.
fn is_given_up(worker: &Worker, socket: &UnixStream) -> Result<impl Fn() -> bool + 'static> {
    let socket = socket.try_clone().map_err(|e| Error::io("cannot use a connection", &e))?;
    let end = Arc::clone(&worker.end);
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(move || {
        let mut peer = [PollFd::new(&socket, PollFlags::RDHUP)];
        end.is_intended() || matches!(poll(&mut peer, Some(&at_once)), Ok(count) if count > 0)
    })
}

fn hello(greeted: &mut bool, versions: Versions, features: &[String]) -> Result<Done> {
    let version = VERSIONS.common(versions)?;
    *greeted = true;
    let worker = env!("CARGO_PKG_VERSION").to_owned();
    Ok(Done::Answer(Answer::Welcome { version, features: common_features(features), worker }))
}

fn reply(socket: &UnixStream, id: u64, outcome: Outcome) -> Result<()> {
    send(socket, &encode(&Reply { id, outcome })?, &[])
}

/// Waits for the next request; `false` once the worker ends.
fn wait(worker: &Worker, socket: &UnixStream) -> Result<bool> {
    wait_for(worker, socket, PollFlags::IN)?;
    Ok(!worker.end.is_near())
}

fn wait_for(worker: &Worker, socket: &UnixStream, events: PollFlags) -> Result<()> {
    loop {
        let mut waiting = [PollFd::new(socket, events), PollFd::new(&*worker.end, PollFlags::IN)];
        match poll(&mut waiting, None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("cannot wait for a request", &errno.into())),
        }
    }
}

/// Sends events until the worker ends or the peer hangs up. A peer that does not read keeps only this thread waiting, and
/// is given up after a while.
fn events(worker: &Worker, socket: &UnixStream, mut after: u64) -> Result<()> {
    let cannot = |errno: Errno| Error::io("cannot wait for events", &errno.into());
    let listener = worker.history.listen().map_err(cannot)?;
    loop {
        match worker.history.next(after) {
            Next::Event(event) => {
                send(socket, &encode(&event)?, &[])?;
                after = event.sequence;
            }
            Next::Over => return Ok(()),
            Next::Later => {
                // Most VMs are quiet for days, and those who listened to them are long gone.
                let mut waiting = [PollFd::new(socket, PollFlags::empty()), PollFd::new(&*listener, PollFlags::IN)];
                match poll(&mut waiting, None) {
                    Ok(_) if !waiting[0].revents().is_empty() => return Ok(()),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(cannot(errno)),
                }
                // Fails if there was nothing to read.
                let _ = rustix::io::read(&*listener, &mut [0; 8]);
            }
        }
    }
}

/// Waits until the peer of a console hangs up or, once the worker ends, the rest of the output is sent.
fn wait_for_console(worker: &Worker, socket: &UnixStream, attached: &ConnectionAttachment) -> Result<()> {
    wait_for(worker, socket, PollFlags::empty())?;
    let deadline = Instant::now() + PATIENCE;
    while worker.end.is_near() && !attached.is_over() && Instant::now() < deadline {
        thread::sleep(LOOK);
    }
    Ok(())
}
