//! A connection with frames, time limits and cancelling.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use super::ancillary::MAX_DESCRIPTORS;
use super::channel::Connection;
use super::frame::{HEADER, Header, PAGES_PREFIX, PREAMBLE, broken, check_preamble, preamble, speaks_tls};
use super::message::{Kind, Reasons, decode, encode, reasons};
use crate::memory::GuestSlice;
use crate::wait;
use crate::{Error, ErrorKind, Result};

/// How much of a body is allocated before more of it has arrived, and how much has to arrive within the limit for silence.
const STEP: usize = 1 << 20;
const TOO_MANY: &str = "the peer passes more descriptors than a message can have";

/// What all connections of one side share.
pub(super) struct Watch<'a> {
    /// A peer that is silent for this long is given up.
    silence: Duration,
    started: Instant,
    /// When something was received last, in microseconds from the start.
    heard: AtomicU64,
    /// Fails if the migration was cancelled or has lasted too long.
    check: &'a (dyn Fn() -> Result<()> + Sync),
    /// A connection failed, so the others have to stop.
    failed: AtomicBool,
    /// Neither `check` nor `failed` count any more.
    too_late: AtomicBool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(silence: Duration, check: &'a (dyn Fn() -> Result<()> + Sync)) -> Self {
        let (started, heard) = (Instant::now(), AtomicU64::new(0));
        Self { silence, started, heard, check, failed: AtomicBool::new(false), too_late: AtomicBool::new(false) }
    }

    /// How long a peer may be silent.
    pub(super) fn silence(&self) -> Duration {
        self.silence
    }

    /// From now on the migration can neither be cancelled nor run out of time.
    pub(super) fn stop(&self) {
        self.too_late.store(true, Ordering::Relaxed);
    }

    /// Fails if the migration was cancelled or has lasted too long.
    pub(super) fn check(&self) -> Result<()> {
        if self.too_late.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.failed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Gone, "another connection of the migration failed"));
        }
        (self.check)()
    }

    fn hear(&self) {
        self.heard.fetch_max(self.started.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    fn last_heard(&self) -> Instant {
        self.started + Duration::from_micros(self.heard.load(Ordering::Relaxed))
    }
}

/// A connection to the other side.
pub(super) struct Link<'a> {
    connection: Box<dyn Connection>,
    watch: &'a Watch<'a>,
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        self.connection.close();
    }
}

impl<'a> Link<'a> {
    pub(super) fn new(connection: Box<dyn Connection>, watch: &'a Watch<'a>) -> Self {
        Self { connection, watch }
    }

    /// Sends the first message on this connection.
    pub(super) fn send_hello<T: serde::Serialize>(&self, hello: &T) -> Result<()> {
        let mut bytes = preamble().to_vec();
        bytes.extend(encode(Kind::Hello, hello)?);
        self.send(&bytes)
    }

    /// Receives the first message on this connection.
    pub(super) fn receive_hello<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        let mut bytes = [0; PREAMBLE];
        let filled = self.fill(&mut bytes, &mut Wait::new());
        // A peer that speaks TLS ends the connection with less than a preamble.
        filled.map_err(|error| speaks_tls(&bytes).unwrap_or(error))?;
        check_preamble(&bytes)?;
        let body = self.expect(Kind::Hello)?;
        decode(Kind::Hello, &body)
    }

    /// Whether it passes descriptors.
    pub(super) fn passes_descriptors(&self) -> bool {
        self.connection.passes_descriptors()
    }

    /// Sends a whole frame. After an error the peer cannot have got all of it.
    pub(super) fn send(&self, frame: &[u8]) -> Result<()> {
        self.send_with(frame, &[])
    }

    /// Sends a whole frame with descriptors.
    pub(super) fn send_with(&self, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        self.send_by(frame.len(), |done| match descriptors {
            // They go with the first byte.
            [_, ..] if done == 0 => self.connection.send_descriptors(frame, descriptors),
            _ => self.connection.send(&frame[done..]),
        })
    }

    /// Sends `before` and the memory that follows it.
    pub(super) fn send_memory(&self, before: &[u8], memory: GuestSlice<'_>) -> Result<()> {
        self.send_by(before.len() + memory.len(), |done| {
            let rest = before.get(done..).unwrap_or_default();
            self.connection.send_memory(rest, after(memory, done.saturating_sub(before.len()))?)
        })
    }

    /// Sends `length` bytes by calls that get how many were sent before.
    fn send_by(&self, length: usize, mut send: impl FnMut(usize) -> io::Result<usize>) -> Result<()> {
        let (mut done, mut moved) = (0, Instant::now());
        while done < length {
            self.watch.check()?;
            match send(done) {
                Ok(sent) => (done, moved) = (done + sent, Instant::now()),
                Err(error) if is_wait(&error) && moved.elapsed() < self.watch.silence => {}
                Err(error) if is_wait(&error) => return Err(self.silent("has taken no data")),
                Err(error) => return Err(lost(error)),
            }
        }
        Ok(())
    }

    /// Receives the next message: its kind, and its body in `body`.
    pub(super) fn receive(&self, body: &mut Vec<u8>) -> Result<Kind> {
        self.receive_within(body, Wait::new())
    }

    fn receive_within(&self, body: &mut Vec<u8>, wait: Wait<'_>) -> Result<Kind> {
        let mut arriving = self.begin_within(wait)?;
        self.receive_body(&mut arriving, body)?;
        Ok(arriving.kind())
    }

    /// Receives the header of the next message.
    pub(super) fn begin(&self) -> Result<Arriving<'static>> {
        self.begin_within(Wait::new())
    }

    fn begin_within<'w>(&self, mut wait: Wait<'w>) -> Result<Arriving<'w>> {
        let mut bytes = [0; HEADER];
        self.fill(&mut bytes, &mut wait)?;
        Ok(Arriving { header: Header::decode(&bytes)?, wait })
    }

    /// Receives the body of a message.
    pub(super) fn receive_body(&self, arriving: &mut Arriving<'_>, body: &mut Vec<u8>) -> Result<()> {
        let Arriving { header, wait } = arriving;
        body.truncate(header.length);
        let mut done = 0;
        while done < header.length {
            let end = header.length.min(done.max(body.len()).saturating_add(STEP));
            body.resize(end, 0);
            self.fill(&mut body[done..end], wait)?;
            (done, wait.since) = (end, Instant::now());
        }
        header.check(body)
    }

    /// Receives what precedes the pages in the body of [`Kind::Pages`]: the number of the first one. Returns it with the
    /// number of bytes that follow.
    pub(super) fn receive_pages_prefix(&self, arriving: &mut Arriving<'_>) -> Result<(u64, usize)> {
        let Arriving { header, wait } = arriving;
        let Some(bytes) = header.length.checked_sub(PAGES_PREFIX) else {
            return Err(broken("the peer sent pages without a number"));
        };
        let mut prefix = [0; PAGES_PREFIX];
        self.fill(&mut prefix, wait)?;
        header.check(&prefix)?;
        Ok((u64::from_le_bytes(prefix), bytes))
    }

    /// Receives a part of a body into memory.
    pub(super) fn receive_memory(&self, arriving: &mut Arriving<'_>, memory: GuestSlice<'_>) -> Result<()> {
        self.fill_by(memory.len(), &mut arriving.wait, |done, _| self.connection.receive_memory(after(memory, done)?))
    }

    /// Receives a message that must be of `kind`. Another is an error; the reason of one that ends the migration
    /// becomes that error.
    pub(super) fn expect(&self, kind: Kind) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        match self.receive(&mut body)? {
            got if got == kind => Ok(body),
            got => Err(unexpected(got, &body, kind)),
        }
    }

    /// Like [`expect`](Self::expect), and returns the descriptors that came with the message. Those that come with other
    /// messages are closed by the kernel.
    pub(super) fn expect_with_descriptors(&self, kind: Kind) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
        let (mut body, mut descriptors) = (Vec::new(), Vec::new());
        let wait = Wait { descriptors: Some(&mut descriptors), ..Wait::new() };
        match self.receive_within(&mut body, wait)? {
            got if got == kind => Ok((body, descriptors)),
            got => Err(unexpected(got, &body, kind)),
        }
    }

    /// Tells the peer why the migration ends here. The peer may be gone; that it takes no data is noticed soon.
    pub(super) fn say_aborted(&self, error: &Error) {
        let reasons = Reasons { reasons: vec![error.to_string()] };
        if let Ok(frame) = encode(Kind::Aborted, &reasons) {
            // Closing the connection says the same without the reason.
            let _ = self.connection.send(&frame);
        }
    }

    /// Tells the peer that nothing more is sent.
    pub(super) fn finish(&self) {
        self.connection.finish();
    }

    /// Fails if the migration was cancelled or has lasted too long.
    pub(super) fn check(&self) -> Result<()> {
        self.watch.check()
    }

    /// Waits until the peer has ended the migration as well or has closed the connection, and returns its reason, but
    /// no longer than `limit`.
    pub(super) fn wait_for_end(&self, limit: Duration) -> Option<Error> {
        let deadline = Instant::now() + limit.min(self.watch.silence);
        let mut body = Vec::new();
        while Instant::now() < deadline {
            match self.receive_within(&mut body, Wait { deadline: Some(deadline), ..Wait::new() }) {
                Ok(kind @ (Kind::Aborted | Kind::Refused)) => return Some(unexpected(kind, &body, Kind::Committed)),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Closes the connection.
    pub(super) fn close(&self) {
        self.connection.close();
    }

    /// Stops the waits of all connections of this side.
    pub(super) fn fail_all(&self) {
        self.watch.failed.store(true, Ordering::Relaxed);
    }

    fn fill(&self, buffer: &mut [u8], wait: &mut Wait<'_>) -> Result<()> {
        self.fill_by(buffer.len(), wait, |done, wait| match wait.descriptors.as_deref_mut() {
            Some(descriptors) => self.connection.receive_descriptors(&mut buffer[done..], descriptors),
            None => self.connection.receive(&mut buffer[done..]),
        })
    }

    /// Receives `length` bytes by calls that get how many were received before.
    fn fill_by<'w>(
        &self,
        length: usize,
        wait: &mut Wait<'w>,
        mut receive: impl FnMut(usize, &mut Wait<'w>) -> io::Result<usize>,
    ) -> Result<()> {
        let mut done = 0;
        while done < length {
            self.watch.check()?;
            if wait.descriptors.as_ref().is_some_and(|descriptors| descriptors.len() > MAX_DESCRIPTORS) {
                return Err(broken(TOO_MANY));
            }
            match receive(done, wait) {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    done += count;
                    self.watch.hear();
                    wait.begin();
                }
                Err(error) if is_wait(&error) && !wait.is_over(self.watch) => {}
                Err(error) if is_wait(&error) => return Err(self.silent("has sent nothing")),
                Err(error) => return Err(lost(error)),
            }
            if done < length && wait.is_over(self.watch) {
                return Err(self.silent("has not completed its message"));
            }
        }
        Ok(())
    }

    fn silent(&self, what: &str) -> Error {
        let limit = self.watch.silence;
        Error::new(ErrorKind::Timeout, format!("the other side of the migration {what} for {limit:?}"))
            .with_remedy("check the network, or raise the limit for a silent peer")
    }
}

/// A message whose header has arrived.
pub(super) struct Arriving<'a> {
    header: Header,
    wait: Wait<'a>,
}

impl Arriving<'_> {
    /// The kind of the message.
    pub(super) fn kind(&self) -> Kind {
        self.header.kind
    }
}

/// The wait for one message. Once it has begun to arrive, it must be complete in time, or each MiB of it if it is longer:
/// single bytes do not extend the time. Before, it is enough that something arrives on any connection: one can be idle
/// while others have more pages.
struct Wait<'a> {
    /// Where descriptors go that come with the message.
    descriptors: Option<&'a mut Vec<OwnedFd>>,
    since: Instant,
    begun: bool,
    /// It ends at this time, whatever arrives.
    deadline: Option<Instant>,
}

impl Wait<'_> {
    fn new() -> Self {
        Self { descriptors: None, since: Instant::now(), begun: false, deadline: None }
    }

    fn begin(&mut self) {
        if !self.begun {
            (self.since, self.begun) = (Instant::now(), true);
        }
    }

    fn is_over(&self, watch: &Watch<'_>) -> bool {
        let since = if self.begun { self.since } else { self.since.max(watch.last_heard()) };
        since.elapsed() > watch.silence || self.deadline.is_some_and(|deadline| Instant::now() > deadline)
    }
}

/// The outcome of two connections. If one failed because the other had to be stopped, the failure of that one counts.
pub(super) fn both(one: Result<()>, other: Result<()>) -> Result<()> {
    match (one, other) {
        (Ok(()), other) => other,
        (Err(error), Err(cause)) if error.kind() == ErrorKind::Gone => Err(cause),
        (one, _) => one,
    }
}

/// Waits for a thread that uses another connection of the same side. With the thread's result, this returns whether the
/// migration may go on: the thread cannot ask the caller of the migration.
pub(super) fn join_checked<T>(
    thread: ScopedJoinHandle<'_, T>,
    link: &Link<'_>,
) -> (std::thread::Result<T>, Result<()>) {
    let mut checked = Ok(());
    let ended = wait::join(thread, || {
        checked = link.check();
        if checked.is_err() {
            link.fail_all();
        }
    });
    (ended, checked)
}

/// The memory after its first `done` bytes.
fn after(memory: GuestSlice<'_>, done: usize) -> io::Result<GuestSlice<'_>> {
    let rest = memory.len().checked_sub(done).and_then(|length| memory.part(done, length));
    rest.ok_or_else(|| io::Error::other("more was moved than there is"))
}

/// Whether nothing could be sent or received for now.
pub(super) fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::PeerFailed, "the other side of the migration closed the connection")
}

pub(super) fn lost(cause: io::Error) -> Error {
    let kind = Error::inside(&cause).map_or(ErrorKind::PeerFailed, Error::kind);
    Error::new(kind, "the connection to the other side of the migration broke").because(cause)
}

/// The error for a message of another kind than expected.
pub(super) fn unexpected(got: Kind, body: &[u8], expected: Kind) -> Error {
    match got {
        Kind::Refused => {
            Error::new(ErrorKind::MigrationRefused, format!("the target refuses the VM: {}", reasons(got, body)))
        }
        Kind::Aborted => {
            Error::new(ErrorKind::PeerFailed, format!("the other side ended the migration: {}", reasons(got, body)))
        }
        _ => broken(format!("the peer sent '{got}' where '{expected}' was expected")),
    }
}
