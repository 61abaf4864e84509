//! Calls over the port of the agent, one at a time.
//!
//! Each call first synchronizes with the agent: it sends `guest-sync-delimited` with a random number, and ignores
//! everything before the answer to that. So neither late answers to calls that were given up nor other output of the
//! guest are taken for the answer. And a request is only sent to an agent that has just answered, so a request that was
//! given up is not executed much later.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::freeze::Freezes;
use super::message::{self, not_understood};
use crate::port::{PortConnection, PortStream};
use crate::process::Process;
use crate::sync::lock;
use crate::wait::Wait;
use crate::{Error, ErrorKind, Result};

/// The longest answer, in bytes, unless a call expects more.
pub(super) const MAX_ANSWER: usize = 1 << 20;
/// The longest answer to `guest-sync-delimited`, in bytes.
const MAX_SYNC_ANSWER: usize = 256;
/// How long to wait for the guest to end after its agent has reported that it cannot end it: it may be ending anyway.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How much is read at a time, in bytes.
const CHUNK: usize = 16 << 10;
/// Tells the reader to discard what comes before: no JSON has this byte.
const SENTINEL: u8 = 0xff;

/// The connection to the agent of one VM, kept across the VM's runs.
#[derive(Debug)]
pub(crate) struct Channel {
    /// The name of the VM.
    name: String,
    process: Process,
    port: PortStream,
    /// Whether a call is in progress.
    busy: Mutex<bool>,
    idle: Condvar,
    /// The file systems that are frozen and must be thawed.
    pub(super) freezes: Freezes,
}

#[derive(Serialize)]
struct Sync {
    id: i64,
}

/// A command for the agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) command: &'static str,
    /// The longest answer, in bytes.
    pub(super) limit: usize,
    pub(super) deadline: Option<Instant>,
}

/// The time `timeout` from now; `None` if that is too far away to be represented.
pub(super) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

impl Channel {
    pub(crate) fn new(name: String, port: PortStream) -> Self {
        let (process, busy, idle, freezes) = (Process::current(), Mutex::default(), Condvar::new(), Freezes::default());
        Self { name, process, port, busy, idle, freezes }
    }

    /// Ends all freezes, because the VM is gone.
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
        self.port.wait_open(deadline).map(drop).map_err(|error| {
            Error::new(error.kind(), format!("cannot wait for the guest agent of VM '{}'", self.name)).because(error)
        })
    }

    /// Sends a command and waits for its answer.
    pub(super) fn call<A: Serialize, T: DeserializeOwned>(&self, call: Call, arguments: A) -> Result<T> {
        self.call_noting(call, arguments, || {})
    }

    /// Like [`call`](Self::call), and calls `note` just before it sends the command. If `note` was not called, the
    /// agent has not seen the command.
    pub(super) fn call_noting<A: Serialize, T: DeserializeOwned>(
        &self,
        call: Call,
        arguments: A,
        note: impl FnOnce(),
    ) -> Result<T> {
        let request = message::request(call.command, arguments);
        self.answer(call, || request.inspect(|_| note()))
    }

    /// Like [`call`](Self::call), with arguments that `arguments` gives just before they are sent. If it fails, the
    /// agent has not seen the command.
    pub(super) fn call_with<A: Serialize, T: DeserializeOwned>(
        &self,
        call: Call,
        arguments: impl FnOnce() -> Result<A>,
    ) -> Result<T> {
        self.answer(call, || message::request(call.command, arguments()?))
    }

    fn answer<T: DeserializeOwned>(&self, call: Call, request: impl FnOnce() -> Result<Vec<u8>>) -> Result<T> {
        let answer = || {
            let mut exchange = self.begin(call, request)?;
            message::answer(&exchange.line(call.limit)?)
        };
        answer().map_err(|error| self.failed(call.command, error))
    }

    /// Sends a command that has no answer on success. Waits until the program has closed the port or its guest has
    /// ended.
    pub(super) fn call_to_end<A: Serialize>(&self, call: Call, arguments: A) -> Result<()> {
        let request = message::request(call.command, arguments);
        let answer = || {
            let mut exchange = self.begin(call, || request)?;
            let mut refused = None;
            loop {
                match exchange.line(call.limit).and_then(|line| message::answer::<message::Nothing>(&line)) {
                    Ok(_) => {}
                    // A guest that shuts down may first kill the program that the agent has started for that, which the
                    // agent reports as a failure, and then the agent.
                    Err(error) if error.kind() == ErrorKind::AgentRefused => {
                        exchange.end_within(LAST_WORDS);
                        refused = Some(error);
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::InvalidAnswer) => {
                        return Err(refused.unwrap_or(error));
                    }
                    Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                    Err(_) => return Ok(()),
                }
            }
        };
        answer().map_err(|error| self.failed(call.command, error))
    }

    /// Waits for its turn, synchronizes with the agent and sends it what `request` gives.
    fn begin(&self, call: Call, request: impl FnOnce() -> Result<Vec<u8>>) -> Result<Exchange<'_>> {
        self.process.require("the guest agent")?;
        let turn = self.turn(call.deadline)?;
        let connection = self.connect()?;
        let mut exchange = Exchange { connection, buffer: Vec::new(), deadline: call.deadline, _turn: turn };
        exchange.synchronize()?;
        exchange.connection.send(&request()?, call.deadline).map_err(absent_if_closed)?;
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
        let free = |busy: &bool| !*busy;
        let (mut busy, waited) = Wait::until(deadline).until_done(&self.idle, &self.busy, lock(&self.busy), free);
        waited.map_err(|ended| {
            ended.error("other calls of the guest agent", || {
                Error::new(ErrorKind::Timeout, "other calls of the guest agent used up the time limit")
                    .with_remedy("give it more time, or call it less often")
            })
        })?;
        *busy = true;
        Ok(Turn(self))
    }

    /// Adds to an error which command failed, and on which VM.
    pub(super) fn failed(&self, what: &str, error: Error) -> Error {
        let error = absent_if_closed(error);
        Error::new(error.kind(), format!("{what} failed on the guest agent of VM '{}'", self.name)).because(error)
    }
}

/// A call in progress, which has the connection to itself.
struct Exchange<'a> {
    connection: PortConnection,
    /// Bytes that were received and not used yet.
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
    /// Ensures that the next answer belongs to the next request.
    fn synchronize(&mut self) -> Result<()> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::new(ErrorKind::Io, "cannot get random bytes from the host").because(error))?;
        // Integers of the schema are signed, and not all agents accept negative ones.
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
                // Any other line is not our answer, however long it is.
                Err(error) if error.kind() == ErrorKind::InvalidAnswer => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Discards input up to the next sentinel.
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

    /// Shortens the deadline to `left` from now, if it is later.
    fn end_within(&mut self, left: Duration) {
        let soon = Instant::now() + left;
        self.deadline = Some(self.deadline.map_or(soon, |deadline| deadline.min(soon)));
    }

    fn receive(&mut self) -> Result<()> {
        // The guest may send without end, so check here and not only when waiting.
        Wait::until(self.deadline).check().map_err(|ended| {
            ended.error("the answer of the guest agent", || {
                Error::new(ErrorKind::Timeout, "the guest agent has not answered in time")
                    .with_remedy("check the agent in the guest, or give it more time with GuestAgent::with_timeout")
            })
        })?;
        let mut chunk = [0; CHUNK];
        let count = self.connection.receive(&mut chunk, self.deadline).map_err(absent_if_closed)?;
        self.buffer.extend(&chunk[..count]);
        Ok(())
    }
}

/// Callers see an agent that has closed the port as absent.
fn absent_if_closed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::AgentAbsent, "the guest agent has ended")
            .with_remedy("check in the guest why, and restart qemu-guest-agent"),
        _ => error,
    }
}
