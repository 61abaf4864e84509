//! One encrypted connection.

use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::time::Instant;

use super::PROTOCOL;
use super::refusal::{closed_early, explain, not_encrypted, other_protocol, too_slow};
use crate::memory::GuestSlice;
use crate::migrate::channel::{CONNECTION_WAIT, Connection, joined};
use crate::migrate::frame::MAGIC;
use crate::migrate::link::is_wait;
use crate::migrate::lobby::Newcomer;
use crate::sync::lock;
use crate::{Error, Result};

/// The most bytes that are encrypted at a time. The longest message with pages fits into it.
const BATCH: usize = 512 << 10;
/// The most bytes that are received at a time.
const RECEIVE: usize = 256 << 10;

/// Encrypts what is sent over another connection.
pub(super) struct Session {
    inner: Box<dyn Connection>,
    /// The other side for errors.
    peer: String,
    /// Only locked to encrypt or decrypt, so that neither direction waits for the socket of the other.
    tls: Mutex<rustls::Connection>,
    outgoing: Mutex<Outgoing>,
    incoming: Mutex<Incoming>,
}

/// Encrypted bytes to send.
#[derive(Default)]
struct Outgoing {
    records: Vec<u8>,
    sent: usize,
    /// The caller's bytes in `records`, if it was told that they are not sent. The rest of the records is sent only if
    /// the caller sends them again. Otherwise the peer would get a message that this side has given up.
    unsent: Vec<u8>,
}

/// Encrypted bytes that were received.
struct Incoming {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Session {
    pub(super) fn new(inner: Box<dyn Connection>, mut tls: rustls::Connection, peer: String) -> Self {
        // A batch is sent as a whole.
        tls.set_buffer_limit(None);
        let incoming = Incoming { bytes: vec![0; RECEIVE].into(), start: 0, end: 0 };
        Self { inner, peer, tls: Mutex::new(tls), outgoing: Mutex::default(), incoming: Mutex::new(incoming) }
    }

    /// Goes on with the handshake, and returns whether it is complete. Waits no longer than a call of a connection.
    ///
    /// # Errors
    /// The peer is not who it should be, does not speak this protocol, or is gone. If possible, it was told why.
    pub(super) fn shake_hands(&self) -> io::Result<bool> {
        let (mut outgoing, mut incoming) = (lock(&self.outgoing), lock(&self.incoming));
        if !self.is_secure(&outgoing) {
            match self.exchange(&mut outgoing, &mut incoming) {
                Err(error) if is_wait(&error) => return Ok(false),
                Err(error) => return Err(self.end_handshake(&mut outgoing, error)),
                Ok(()) if !self.is_secure(&outgoing) => return Ok(false),
                Ok(()) => {}
            }
        }
        if lock(&self.tls).alpn_protocol() != Some(PROTOCOL) {
            return Err(io::Error::other(other_protocol(&self.peer)));
        }
        Ok(true)
    }

    fn is_secure(&self, outgoing: &Outgoing) -> bool {
        let tls = lock(&self.tls);
        !tls.is_handshaking() && !tls.wants_write() && outgoing.records.is_empty()
    }

    /// Ends a handshake that failed, and tells the peer why.
    fn end_handshake(&self, outgoing: &mut Outgoing, error: io::Error) -> io::Error {
        let _ = outgoing.collect(&mut lock(&self.tls)).and_then(|()| outgoing.pass(&*self.inner));
        self.inner.finish();
        match Error::inside(&error) {
            Some(_) => error,
            None => io::Error::other(closed_early(&self.peer).because(error)),
        }
    }

    /// Sends what the handshake needs, or else receives.
    fn exchange(&self, outgoing: &mut Outgoing, incoming: &mut Incoming) -> io::Result<()> {
        outgoing.collect(&mut lock(&self.tls))?;
        if !outgoing.records.is_empty() {
            return outgoing.pass(&*self.inner);
        }
        if incoming.is_empty() && !incoming.fill(&*self.inner)? {
            return Err(io::Error::other(closed_early(&self.peer)));
        }
        let plain = incoming.bytes[incoming.start..incoming.end].starts_with(&MAGIC);
        let mut tls = lock(&self.tls);
        while tls.is_handshaking() && !incoming.is_empty() {
            // TLS also has to see what it cannot read, to tell the peer.
            let fed = self.feed(&mut tls, incoming);
            fed.map_err(|error| if plain { io::Error::other(not_encrypted(&self.peer)) } else { error })?;
        }
        Ok(())
    }

    /// Decrypts to `buffer`, and returns how many bytes: 0 if the peer sends no more, `None` if not enough has arrived.
    fn decrypt(&self, incoming: &mut Incoming, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut tls = lock(&self.tls);
        let mut done = 0;
        while done < buffer.len() {
            match tls.reader().read(&mut buffer[done..]) {
                Ok(0) => return Ok(Some(done)),
                Ok(count) => {
                    done += count;
                    continue;
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
            if incoming.is_empty() {
                break;
            }
            if let Err(error) = self.feed(&mut tls, incoming) {
                // The caller gets the data that precede the error first.
                done += tls.reader().read(&mut buffer[done..]).unwrap_or(0);
                return if done > 0 { Ok(Some(done)) } else { Err(error) };
            }
        }
        if done == 0 {
            // An error that TLS has found before.
            self.process(&mut tls)?;
        }
        Ok((done > 0).then_some(done))
    }

    /// Gives a part of the received bytes to TLS.
    fn feed(&self, tls: &mut rustls::Connection, incoming: &mut Incoming) -> io::Result<()> {
        let mut rest = &incoming.bytes[incoming.start..incoming.end];
        incoming.start += tls.read_tls(&mut rest)?;
        self.process(tls)
    }

    fn process(&self, tls: &mut rustls::Connection) -> io::Result<()> {
        tls.process_new_packets().map_err(|e| io::Error::other(explain(&self.peer, e)))?;
        Ok(())
    }

    /// The error for a connection that broke: the alert in which the peer said why, if there is one.
    fn broken(&self, error: io::Error) -> io::Error {
        // If another thread receives, that one gets the alert.
        let Ok(mut incoming) = self.incoming.try_lock() else { return error };
        if incoming.is_empty() {
            let _ = incoming.fill(&*self.inner);
        }
        let mut tls = lock(&self.tls);
        while !incoming.is_empty() {
            match self.feed(&mut tls, &mut incoming) {
                Ok(()) => {}
                Err(alert) if Error::inside(&alert).is_some() => return alert,
                // There is more data than TLS takes now. The caller may still receive it.
                Err(_) => break,
            }
        }
        error
    }

    fn explain(&self, error: io::Error) -> io::Error {
        match error.downcast::<rustls::Error>() {
            Ok(cause) => io::Error::other(explain(&self.peer, cause)),
            Err(error) => error,
        }
    }
}

impl Newcomer for Session {
    fn advance(&mut self) -> Result<bool> {
        let failed = |error: io::Error| error.downcast().unwrap_or_else(|e| closed_early(&self.peer).because(e));
        self.shake_hands().map_err(failed)
    }

    fn too_slow(&self) -> Error {
        too_slow(&self.peer)
    }

    fn refuse(&self, _: &Error) {
        // The peer was told when its handshake failed.
    }
}

impl Connection for Session {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut outgoing = lock(&self.outgoing);
        let taken = if !outgoing.unsent.is_empty() {
            if !bytes.starts_with(&outgoing.unsent) {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "an earlier message was sent only in part"));
            }
            outgoing.unsent.len()
        } else {
            let mut tls = lock(&self.tls);
            let batch = bytes.get(..BATCH).unwrap_or(bytes);
            let taken = tls.writer().write(batch).map_err(|e| self.explain(e))?;
            outgoing.collect(&mut tls)?;
            taken
        };
        let passed = outgoing.pass(&*self.inner);
        match &passed {
            Ok(()) => outgoing.unsent.clear(),
            Err(_) if outgoing.unsent.is_empty() => outgoing.unsent.extend_from_slice(&bytes[..taken]),
            Err(_) => {}
        }
        match passed {
            Err(error) if !is_wait(&error) => Err(self.broken(error)),
            passed => passed.map(|()| taken),
        }
    }

    fn send_memory(&self, before: &[u8], memory: GuestSlice<'_>) -> io::Result<usize> {
        let unsent = lock(&self.outgoing).unsent.clone();
        let same = unsent.starts_with(before) && unsent.len() <= before.len() + memory.len();
        if !unsent.is_empty() && same {
            // It is sent as it was encrypted, although the guest may have written the memory since.
            return self.send(&unsent);
        }
        self.send(&joined(before, memory))
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut incoming = lock(&self.incoming);
        if let Some(count) = self.decrypt(&mut incoming, buffer)? {
            return Ok(count);
        }
        if !incoming.fill(&*self.inner)? {
            // Somebody else than the peer may have cut the connection.
            let what = format!("{} has not closed the TLS connection before it ended", self.peer);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        self.decrypt(&mut incoming, buffer)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn finish(&self) {
        let mut outgoing = lock(&self.outgoing);
        if outgoing.unsent.is_empty() {
            let mut tls = lock(&self.tls);
            tls.send_close_notify();
            let collected = outgoing.collect(&mut tls);
            drop(tls);
            let deadline = Instant::now() + CONNECTION_WAIT;
            // If it does not arrive, the peer takes the connection for cut.
            while collected.is_ok() && Instant::now() < deadline {
                match outgoing.pass(&*self.inner) {
                    Err(error) if is_wait(&error) => {}
                    _ => break,
                }
            }
        }
        self.inner.finish();
    }

    fn close(&self) {
        self.inner.close();
    }
}

impl Outgoing {
    /// Takes what TLS has to send.
    fn collect(&mut self, tls: &mut rustls::Connection) -> io::Result<()> {
        while tls.wants_write() {
            tls.write_tls(&mut self.records)?;
        }
        Ok(())
    }

    /// Tries once to send all records.
    fn pass(&mut self, inner: &dyn Connection) -> io::Result<()> {
        let rest = self.records.get(self.sent..).unwrap_or_default();
        if !rest.is_empty() {
            self.sent += inner.send(rest)?;
        }
        if self.sent < self.records.len() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.records.clear();
        self.sent = 0;
        Ok(())
    }
}

impl Incoming {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Receives once, when all bytes are taken. Returns whether the peer sends more.
    fn fill(&mut self, inner: &dyn Connection) -> io::Result<bool> {
        (self.start, self.end) = (0, 0);
        self.end = inner.receive(&mut self.bytes)?.min(self.bytes.len());
        Ok(self.end > 0)
    }
}
