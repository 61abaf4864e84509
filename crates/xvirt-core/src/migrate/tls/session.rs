//! One encrypted connection.

use std::io;
use std::mem;
use std::sync::Mutex;
use std::time::Instant;

use super::PROTOCOL;
use super::records::{Buffer, RECEIVE, Records};
use super::refusal::{closed_early, explain, not_encrypted, other_protocol, too_slow};
use crate::memory::GuestSlice;
use crate::migrate::channel::{CONNECTION_WAIT, Connection};
use crate::migrate::frame::MAGIC;
use crate::migrate::link::is_wait;
use crate::migrate::lobby::Newcomer;
use crate::sync::lock;
use crate::{Error, Result};

/// The most bytes that are encrypted at a time, so that they and their records stay in the processor's cache.
const BATCH: usize = 128 << 10;

/// Encrypts what is sent over another connection.
pub(super) struct Session {
    inner: Box<dyn Connection>,
    /// The other side for errors.
    peer: String,
    /// Only locked to encrypt or decrypt, so that neither direction waits for the socket of the other.
    tls: Mutex<Records>,
    outgoing: Mutex<Outgoing>,
    /// What was received last.
    incoming: Mutex<Box<[u8]>>,
}

/// A batch to send.
struct Outgoing {
    /// The caller's bytes. They stay until their records are sent: the caller was told before that they are not, and the
    /// rest of the records is sent only if it sends the same bytes again. Otherwise the peer would get a message that
    /// this side has given up.
    batch: Box<[u8]>,
    filled: usize,
    records: Buffer,
    sent: usize,
}

impl Session {
    pub(super) fn new(inner: Box<dyn Connection>, tls: Records, peer: String) -> Self {
        let outgoing = Outgoing { batch: vec![0; BATCH].into(), filled: 0, records: Buffer::default(), sent: 0 };
        let incoming = Mutex::new(vec![0; RECEIVE].into());
        Self { inner, peer, tls: Mutex::new(tls), outgoing: Mutex::new(outgoing), incoming }
    }

    /// Goes on with the handshake, and returns whether it is complete. Waits no longer than a call of a connection.
    ///
    /// # Errors
    /// The peer is not who it should be, does not speak this protocol, or is gone. If possible, it was told why.
    pub(super) fn shake_hands(&self) -> io::Result<bool> {
        let mut outgoing = lock(&self.outgoing);
        match self.exchange(&mut outgoing) {
            Err(error) if is_wait(&error) => return Ok(false),
            Err(error) => return Err(self.end_handshake(&mut outgoing, error)),
            Ok(false) => return Ok(false),
            Ok(true) => {}
        }
        if lock(&self.tls).protocol() != Some(PROTOCOL) {
            return Err(io::Error::other(other_protocol(&self.peer)));
        }
        Ok(true)
    }

    /// Ends a handshake that failed, and tells the peer why.
    fn end_handshake(&self, outgoing: &mut Outgoing, error: io::Error) -> io::Error {
        let _ = outgoing.pass(&*self.inner);
        self.inner.finish();
        match Error::inside(&error) {
            Some(_) => error,
            None => io::Error::other(closed_early(&self.peer).because(error)),
        }
    }

    /// Sends what the handshake needs, or else receives. Returns whether the handshake is complete.
    fn exchange(&self, outgoing: &mut Outgoing) -> io::Result<bool> {
        let mut tls = lock(&self.tls);
        if outgoing.is_sent() {
            let plain = tls.arrived_starts_with(&MAGIC);
            tls.shake_hands(&mut outgoing.records).map_err(|error| {
                // TLS also had to see what it cannot read, to tell the peer.
                if plain { io::Error::other(not_encrypted(&self.peer)) } else { self.explain(error) }
            })?;
        }
        let secure = tls.is_secure();
        drop(tls);
        if !outgoing.is_sent() {
            outgoing.pass(&*self.inner)?;
        } else if !secure && !self.fill(&mut lock(&self.incoming))? {
            return Err(io::Error::other(closed_early(&self.peer)));
        }
        Ok(secure && outgoing.is_sent())
    }

    /// Receives once, when everything that was received before is processed. Returns whether the peer sends more.
    fn fill(&self, incoming: &mut [u8]) -> io::Result<bool> {
        let count = self.inner.receive(incoming)?.min(incoming.len());
        lock(&self.tls).arrive(&incoming[..count]).map_err(|error| self.explain(error))?;
        Ok(count > 0)
    }

    /// Passes up to `length` decrypted bytes to `take`, with how many it got before. Returns how many it got in all: 0 if
    /// the peer sends no more, `None` if not enough has arrived.
    fn decrypt(&self, length: usize, take: &mut dyn FnMut(usize, &[u8])) -> io::Result<Option<usize>> {
        let mut tls = lock(&self.tls);
        let count = tls.read(length, take).map_err(|error| self.explain(error))?;
        Ok((count > 0 || tls.is_at_end()).then_some(count))
    }

    /// Passes what arrives to `take`, as [`decrypt`](Self::decrypt) does.
    fn receive_by(&self, length: usize, take: &mut dyn FnMut(usize, &[u8])) -> io::Result<usize> {
        let mut incoming = lock(&self.incoming);
        if let Some(count) = self.decrypt(length, take)? {
            return Ok(count);
        }
        if !self.fill(&mut incoming)? {
            // Somebody else than the peer may have cut the connection.
            let what = format!("{} has not closed the TLS connection before it ended", self.peer);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        self.decrypt(length, take)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Encrypts the batch that `fill` writes, and tries once to send it. Returns how many bytes were sent. If an earlier
    /// batch is not sent yet, it must be the one that `is_same` knows, and is sent as it was encrypted.
    fn send_batch(
        &self,
        is_same: impl FnOnce(&[u8]) -> bool,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> io::Result<usize> {
        let mut outgoing = lock(&self.outgoing);
        if outgoing.filled == 0 {
            let count = fill(&mut outgoing.batch);
            let Outgoing { batch, records, .. } = &mut *outgoing;
            lock(&self.tls).encrypt(&batch[..count], records).map_err(|error| self.explain(error))?;
            outgoing.filled = count;
        } else if !is_same(&outgoing.batch[..outgoing.filled]) {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "an earlier message was sent only in part"));
        }
        match outgoing.pass(&*self.inner) {
            Ok(()) => Ok(mem::take(&mut outgoing.filled)),
            Err(error) if is_wait(&error) => Err(error),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// The error for a connection that broke: the alert in which the peer said why, if there is one.
    fn broken(&self, error: io::Error) -> io::Error {
        // If another thread receives, that one gets the alert.
        let Ok(mut incoming) = self.incoming.try_lock() else { return error };
        if self.check().is_ok() {
            let _ = self.fill(&mut incoming);
        }
        self.check().err().unwrap_or(error)
    }

    /// Looks for an error in what arrived.
    fn check(&self) -> io::Result<()> {
        lock(&self.tls).check().map_err(|error| self.explain(error))
    }

    fn explain(&self, error: rustls::Error) -> io::Error {
        io::Error::other(explain(&self.peer, error))
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
        self.send_batch(|earlier| bytes.starts_with(earlier), |batch| copy_start(bytes, batch))
    }

    fn send_memory(&self, before: &[u8], memory: GuestSlice<'_>) -> io::Result<usize> {
        // The guest may have written the memory since the earlier batch was encrypted.
        let is_same = |earlier: &[u8]| earlier.starts_with(before) && earlier.len() <= before.len() + memory.len();
        self.send_batch(is_same, |batch| {
            let start = copy_start(before, batch);
            start + memory.copy_to(&mut batch[start..])
        })
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive_by(buffer.len(), &mut |done, bytes| buffer[done..done + bytes.len()].copy_from_slice(bytes))
    }

    fn receive_memory(&self, memory: GuestSlice<'_>) -> io::Result<usize> {
        self.receive_by(memory.len(), &mut |done, bytes| {
            if let Some(part) = memory.part(done, bytes.len()) {
                part.copy_from(bytes);
            }
        })
    }

    fn finish(&self) {
        let mut outgoing = lock(&self.outgoing);
        if outgoing.filled == 0 {
            // If TLS has failed, the records are the alert that tells the peer why.
            let _ = lock(&self.tls).close(&mut outgoing.records);
            let deadline = Instant::now() + CONNECTION_WAIT;
            // If it does not arrive, the peer takes the connection for cut.
            while Instant::now() < deadline {
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
    fn is_sent(&self) -> bool {
        self.records.bytes().is_empty()
    }

    /// Tries once to send all records.
    fn pass(&mut self, inner: &dyn Connection) -> io::Result<()> {
        let rest = self.records.bytes().get(self.sent..).unwrap_or_default();
        if !rest.is_empty() {
            self.sent += inner.send(rest)?;
        }
        if self.sent < self.records.bytes().len() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.records.clear();
        self.sent = 0;
        Ok(())
    }
}

/// Copies as much of the start of `bytes` as fits, and returns how much.
fn copy_start(bytes: &[u8], to: &mut [u8]) -> usize {
    let count = bytes.len().min(to.len());
    to[..count].copy_from_slice(&bytes[..count]);
    count
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::migrate::tls::records::tests;
    use crate::migrate::{Channel, Sockets};

    #[test]
    fn the_peer_of_a_damaged_record_is_told() {
        let (here, there) = UnixStream::pair().unwrap();
        let [source, target] = tests::connected();
        let session = |socket, tls| {
            let inner = Sockets::new([socket]).unwrap().connect(CONNECTION_WAIT).unwrap();
            Session::new(inner, tls, "the other side".to_owned())
        };
        let (source, target) = (session(here, source), session(there, target));
        // 32 bytes that nobody has encrypted.
        source.inner.send(&[&[0x17, 3, 3, 0, 32], &[0; 32][..]].concat()).unwrap();
        let error = target.receive(&mut [0; 8]).unwrap_err();
        assert!(!is_wait(&error), "{error}");
        target.finish();
        let error = source.receive(&mut [0; 8]).unwrap_err();
        assert!(error.to_string().contains("has ended the TLS connection"), "{error}");
    }
}
