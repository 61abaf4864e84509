//! Calls over the port of the agent, one after the other.
//!
//! Each call first makes sure of the agent: it sends `guest-sync-delimited` with a random number, and ignores what comes
//! before the answer to that. So late answers to calls that were given up, and whatever else a guest sends, are nobody's
//! answer; and a request is sent only to an agent that has just answered, so that one that was given up is not carried out
//! much later.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::freeze::Freezes;
use super::message::{self, not_understood};
use crate::port::{PortConnection, PortStream};
use crate::process::Process;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The longest answer, in bytes, unless a call expects more.
pub(super) const MAX_ANSWER: usize = 1 << 20;
/// The longest answer to `guest-sync-delimited`.
const MAX_SYNC_ANSWER: usize = 256;
/// How long an agent that says it cannot end its guest is watched, in case it is ending all the same.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How much is read at once.
const CHUNK: usize = 16 << 10;
/// In the stream, what comes before is not to be understood: no JSON has this byte.
const SENTINEL: u8 = 0xff;

/// The way to the agent of one VM, which outlives the VM's runs.
#[derive(Debug)]
pub(crate) struct Channel {
    /// The name of the VM.
    name: String,
    process: Process,
    port: PortStream,
    /// Whether a call is in progress.
    busy: Mutex<bool>,
    idle: Condvar,
    /// The file systems that are frozen and have to be thawed.
    pub(super) freezes: Freezes,
}

#[derive(Serialize)]
struct Sync {
    id: i64,
}

/// Something to ask the agent for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) command: &'static str,
    /// The longest answer, in bytes.
    pub(super) limit: usize,
    pub(super) deadline: Option<Instant>,
}

/// The moment `timeout` from now; none is that there is no limit.
pub(super) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

impl Channel {
    pub(crate) fn new(name: String, port: PortStream) -> Self {
        let (process, busy, idle, freezes) = (Process::current(), Mutex::default(), Condvar::new(), Freezes::default());
        Self { name, process, port, busy, idle, freezes }
    }

    /// The VM is gone.
    pub(crate) fn end(&self) {
        self.freezes.end();
    }

    /// The name of the VM.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a program in the guest has the port open.
    pub(super) fn is_open(&self) -> bool {
        self.port.is_open()
    }

    /// Waits until a program in the guest has the port open.
    pub(super) fn wait_open(&self, deadline: Option<Instant>) -> Result<()> {
        self.port.wait_open(deadline).map(drop).map_err(|error| self.failed("waiting", error))
    }

    /// Sends a command and waits for its answer.
    pub(super) fn call<A: Serialize, T: DeserializeOwned>(&self, call: Call, arguments: A) -> Result<T> {
        let answer = || {
            let mut exchange = self.begin(call, arguments)?;
            message::answer(&exchange.line(call.limit)?)
        };
        answer().map_err(|error| self.failed(call.command, error))
    }

    /// Sends a command that has no answer when it succeeds. Waits until the program has closed the port or its guest has
    /// ended.
    pub(super) fn call_to_end<A: Serialize>(&self, call: Call, arguments: A) -> Result<()> {
        let answer = || {
            let mut exchange = self.begin(call, arguments)?;
            let mut refused = None;
            loop {
                match exchange.line(call.limit).and_then(|line| message::answer::<message::Nothing>(&line)) {
                    Ok(_) => {}
                    // A guest that ends may first end what its agent has called for that, which the agent takes for a
                    // failure, and then the agent.
                    Err(error) if error.kind() == ErrorKind::AgentRefused => {
                        exchange.end_within(LAST_WORDS);
                        refused = Some(error);
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::InvalidAnswer) => {
                        return Err(refused.unwrap_or(error));
                    }
                    Err(_) => return Ok(()),
                }
            }
        };
        answer().map_err(|error| self.failed(call.command, error))
    }

    /// Takes a turn, makes sure of the agent and sends it a command.
    fn begin<A: Serialize>(&self, call: Call, arguments: A) -> Result<Exchange<'_>> {
        self.process.require("the guest agent")?;
        let request = message::request(call.command, arguments)?;
        let turn = self.turn(call.deadline)?;
        let connection = self.connect()?;
        let mut exchange = Exchange { connection, buffer: Vec::new(), deadline: call.deadline, _turn: turn };
        exchange.synchronize()?;
        exchange.connection.send(&request, call.deadline).map_err(absent_if_closed)?;
        Ok(exchange)
    }

    fn connect(&self) -> Result<PortConnection> {
        self.port.wait_open(Some(Instant::now())).map_err(|error| match error.kind() {
            ErrorKind::Timeout => Error::new(ErrorKind::AgentAbsent, "no guest agent is running in the guest")
                .with_remedy("install and start qemu-guest-agent in the guest, and wait until it has booted"),
            _ => error,
        })
    }

    fn turn(&self, deadline: Option<Instant>) -> Result<Turn<'_>> {
        let mut busy = lock(&self.busy);
        while *busy {
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(Error::new(ErrorKind::Timeout, "other calls of the guest agent took all the time")
                    .with_remedy("give it more time, or call it less often"));
            }
            busy = self.idle.wait_timeout(busy, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *busy = true;
        Ok(Turn(self))
    }

    /// Says what was asked for, and of which VM.
    pub(super) fn failed(&self, what: &str, error: Error) -> Error {
        let error = absent_if_closed(error);
        Error::new(error.kind(), format!("{what} failed on the guest agent of VM '{}'", self.name)).because(error)
    }
}

/// A call in progress, on a connection that nobody else uses meanwhile.
struct Exchange<'a> {
    connection: PortConnection,
    /// What has come and was not used yet.
    buffer: Vec<u8>,
    deadline: Option<Instant>,
    _turn: Turn<'a>,
}

struct Turn<'a>(&'a Channel);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.busy) = false;
        self.0.idle.notify_one();
    }
}

impl Exchange<'_> {
    /// Makes sure that the next answer is to the next request.
    fn synchronize(&mut self) -> Result<()> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::new(ErrorKind::Io, "the host has no random numbers").because(error))?;
        // The schema's integers are signed, and not all programs like negative ones.
        let id = i64::from_ne_bytes(bytes) & i64::MAX;
        let mut request = vec![SENTINEL];
        request.extend(message::request("guest-sync-delimited", Sync { id })?);
        self.connection.send(&request, self.deadline).map_err(absent_if_closed)?;
        loop {
            self.skip_sentinel()?;
            match self.line(MAX_SYNC_ANSWER) {
                Ok(line) => {
                    let line = line.rsplit(|byte| *byte == SENTINEL).next().unwrap_or_default();
                    if message::answer::<i64>(line).is_ok_and(|answer| answer == id) {
                        return Ok(());
                    }
                }
                // It is none of ours, however long it is.
                Err(error) if error.kind() == ErrorKind::InvalidAnswer => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Drops what comes, up to the next sentinel.
    fn skip_sentinel(&mut self) -> Result<()> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == SENTINEL) {
                self.buffer.drain(..=at);
                return Ok(());
            }
            self.buffer.clear();
            self.receive()?;
        }
    }

    /// The next line, of at most `limit` bytes.
    fn line(&mut self, limit: usize) -> Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                return Ok(line);
            }
            searched = self.buffer.len();
            if searched > limit {
                return Err(not_understood(format_args!("it is longer than {limit} bytes")));
            }
            self.receive()?;
        }
    }

    /// Brings the deadline forward.
    fn end_within(&mut self, left: Duration) {
        let soon = Instant::now() + left;
        self.deadline = Some(self.deadline.map_or(soon, |deadline| deadline.min(soon)));
    }

    fn receive(&mut self) -> Result<()> {
        // The guest may send for ever.
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Error::new(ErrorKind::Timeout, "the guest agent has not answered in time")
                .with_remedy("see in the guest what it does, or give it more time with GuestAgent::with_timeout"));
        }
        let mut chunk = [0; CHUNK];
        let count = self.connection.receive(&mut chunk, self.deadline).map_err(absent_if_closed)?;
        self.buffer.extend(&chunk[..count]);
        Ok(())
    }
}

/// To the caller, an agent that has closed the port is one that is not there.
fn absent_if_closed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::AgentAbsent, "the guest agent has ended")
            .with_remedy("see in the guest why, and start qemu-guest-agent again"),
        _ => error,
    }
}
