//! Serves one connection: one request at a time, each on the connection's own thread.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use xvirt_core::console::ConnectionAttachment;

use super::Worker;
use super::history::Next;
use super::verbs::{self, Done};
use crate::protocol::{
    Answer, Frame, Outcome, Reply, Request, VERSIONS, Versions, common_features, decode_request, encode, receive, send,
};
use crate::{Error, Result, kind};

/// How long the rest of a message may take once it has begun, and how long a peer may take to read.
const PATIENCE: Duration = Duration::from_secs(10);
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
            request => verbs::carry_out(worker, request, descriptors),
        };
        match done {
            Ok(Done::Answer(answer)) => reply(socket, id, Outcome::Done(answer))?,
            Err(error) => reply(socket, id, Outcome::Failed(error))?,
            Ok(Done::Events(after)) => {
                reply(socket, id, Outcome::Done(Answer::Nothing))?;
                return events(worker, socket, after);
            }
            Ok(Done::Console(console)) => {
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
