//! TLS between buffers. rustls decrypts what arrives where it lies.
//!
//! Its interface with buffers of its own copies every record that arrives from one of them to another, which `malloc` places
//! 16 bytes behind a multiple of 4096 bytes from the first. At such a distance the C library's `memcpy` is thirty times slower
//! on AMD's Zen 3 and 4 (glibc bug 30994). Here the records lie at ever other addresses.

use std::mem;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

/// The most bytes that one call gives to TLS.
pub(super) const RECEIVE: usize = 128 << 10;
/// What TLS may leave of earlier ones: a part of a record, or of a message of the handshake.
const LEFT: usize = 96 << 10;

/// One side of a TLS connection.
pub(super) struct Records {
    tls: Endpoint,
    /// Decrypted bytes that nobody has taken yet.
    decrypted: Vec<u8>,
    taken: usize,
    /// Records that TLS had to answer to what arrived.
    answers: Buffer,
}

/// TLS, and what arrived for it.
struct Endpoint {
    side: Side,
    arrived: Box<[u8]>,
    start: usize,
    end: usize,
    /// Why the connection has ended.
    failed: Option<Error>,
    /// The peer has said that it sends no more.
    closed: bool,
}

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// Bytes in memory that stays allocated.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    end: usize,
}

/// What to do once the connection is secure.
enum Task<'a> {
    None,
    Encrypt(&'a [u8]),
    Close,
}

/// How far TLS has come.
#[derive(PartialEq, Eq)]
enum Step {
    /// There may be more to do.
    Forward,
    /// Everything that arrived is processed, and the task is done.
    Done,
    /// The handshake needs more of the peer, or both sides have closed the connection.
    Blocked,
}

impl Records {
    /// For the source of a migration, which connects to `server`.
    pub(super) fn client(config: Arc<ClientConfig>, server: ServerName<'static>) -> Result<Self, Error> {
        Ok(Self::new(Side::Client(UnbufferedClientConnection::new(config, server)?)))
    }

    /// For the target.
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::new(Side::Server(UnbufferedServerConnection::new(config)?)))
    }

    fn new(side: Side) -> Self {
        let arrived = vec![0; LEFT + RECEIVE].into();
        let tls = Endpoint { side, arrived, start: 0, end: 0, failed: None, closed: false };
        Self { tls, decrypted: Vec::new(), taken: 0, answers: Buffer::default() }
    }

    /// Takes what arrived, at most [`RECEIVE`] bytes. All that arrived before has to be processed.
    pub(super) fn arrive(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let tls = &mut self.tls;
        tls.arrived.copy_within(tls.start..tls.end, 0);
        (tls.start, tls.end) = (0, tls.end - tls.start);
        let Some(to) = tls.arrived.get_mut(tls.end..tls.end + bytes.len()) else {
            return Err(Error::General("a message of the peer is too long".to_owned()));
        };
        to.copy_from_slice(bytes);
        tls.end += bytes.len();
        Ok(())
    }

    /// Whether what arrived and is not processed begins with these bytes.
    pub(super) fn arrived_starts_with(&self, bytes: &[u8]) -> bool {
        self.tls.arrived[self.tls.start..self.tls.end].starts_with(bytes)
    }

    /// Goes on with the handshake, and writes what to send to `records`. Returns whether it is complete at this side.
    pub(super) fn shake_hands(&mut self, records: &mut Buffer) -> Result<bool, Error> {
        self.run(Task::None, records)
    }

    /// The protocol that both sides have chosen.
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        self.tls.side.state().alpn_protocol()
    }

    /// Whether the handshake is complete.
    pub(super) fn is_secure(&self) -> bool {
        !self.tls.side.state().is_handshaking()
    }

    /// Passes up to `length` decrypted bytes to `take`, with how many it got before, and returns how many it got in all.
    ///
    /// # Errors
    /// Those of TLS, after `take` got all that preceded them.
    pub(super) fn read(&mut self, length: usize, take: &mut dyn FnMut(usize, &[u8])) -> Result<usize, Error> {
        let mut done = 0;
        let mut pass = |bytes: &[u8], done: &mut usize| {
            let count = bytes.len().min(length - *done);
            take(*done, &bytes[..count]);
            *done += count;
            count
        };
        self.taken += pass(&self.decrypted[self.taken..], &mut done);
        if self.taken < self.decrypted.len() {
            return Ok(done);
        }
        self.taken = 0;
        self.decrypted.clear();
        loop {
            let step = self.tls.step(&Task::None, &mut self.answers, &mut |bytes| {
                let count = pass(bytes, &mut done);
                self.decrypted.extend_from_slice(&bytes[count..]);
            });
            match step {
                Ok(Step::Forward) if done < length => {}
                Err(error) if done == 0 => return Err(error),
                _ => return Ok(done),
            }
        }
    }

    /// Whether the peer has said that it sends no more, and all of it was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.tls.closed && self.decrypted.is_empty()
    }

    /// Looks for an error in what arrived.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        let mut answers = mem::take(&mut self.answers);
        let checked = self.run(Task::None, &mut answers);
        self.answers = answers;
        checked.map(drop)
    }

    /// Writes `bytes` to `records`, encrypted.
    pub(super) fn encrypt(&mut self, bytes: &[u8], records: &mut Buffer) -> Result<(), Error> {
        self.write(Task::Encrypt(bytes), records)
    }

    /// Writes to `records` that this side sends no more.
    pub(super) fn close(&mut self, records: &mut Buffer) -> Result<(), Error> {
        self.write(Task::Close, records)
    }

    fn write(&mut self, task: Task<'_>, records: &mut Buffer) -> Result<(), Error> {
        records.append(&mut self.answers);
        if self.run(task, records)? { Ok(()) } else { Err(Error::HandshakeNotComplete) }
    }

    /// Processes all that arrived, does `task`, and returns whether it could.
    fn run(&mut self, task: Task<'_>, records: &mut Buffer) -> Result<bool, Error> {
        loop {
            match self.tls.step(&task, records, &mut |bytes| self.decrypted.extend_from_slice(bytes))? {
                Step::Forward => {}
                step => return Ok(step == Step::Done),
            }
        }
    }
}

impl Endpoint {
    /// Goes on until something was decrypted (for `take`) or has to be sent (in `records`), or there is nothing more to do.
    fn step(&mut self, task: &Task<'_>, records: &mut Buffer, take: &mut dyn FnMut(&[u8])) -> Result<Step, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let step = self.process(task, records, take);
        if let Err(error) = &step {
            self.failed = Some(error.clone());
            // The alert that tells the peer, after what else is to be sent.
            while self.side.state().wants_write() && self.process(&Task::None, records, &mut |_| {}).is_ok() {}
        }
        step
    }

    fn process(&mut self, task: &Task<'_>, records: &mut Buffer, take: &mut dyn FnMut(&[u8])) -> Result<Step, Error> {
        let bytes = &mut self.arrived[self.start..self.end];
        let (discarded, step) = match &mut self.side {
            Side::Client(tls) => handle(tls.process_tls_records(bytes), task, records, take, &mut self.closed),
            Side::Server(tls) => handle(tls.process_tls_records(bytes), task, records, take, &mut self.closed),
        };
        self.start += discarded.min(self.end - self.start);
        step
    }
}

impl Side {
    fn state(&self) -> &CommonState {
        match self {
            Self::Client(tls) => tls,
            Self::Server(tls) => tls,
        }
    }
}

/// Does what TLS asks for. Returns also how many of the bytes that it was given are not needed any more.
fn handle<D>(
    status: UnbufferedStatus<'_, '_, D>,
    task: &Task<'_>,
    records: &mut Buffer,
    take: &mut dyn FnMut(&[u8]),
    closed: &mut bool,
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = state.and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                take(record.payload);
                discard += record.discard;
            }
            Ok(Step::Forward)
        }
        ConnectionState::EncodeTlsData(mut record) => {
            records.write(|to| record.encode(to).map_err(encode_error))?;
            Ok(Step::Forward)
        }
        // The caller sends the records.
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Ok(Step::Forward)
        }
        ConnectionState::PeerClosed => {
            *closed = true;
            Ok(Step::Forward)
        }
        ConnectionState::WriteTraffic(mut traffic) => {
            match task {
                Task::None => {}
                Task::Encrypt(bytes) => records.write(|to| traffic.encrypt(bytes, to).map_err(encrypt_error))?,
                Task::Close => records.write(|to| traffic.queue_close_notify(to).map_err(encrypt_error))?,
            }
            Ok(Step::Done)
        }
        ConnectionState::BlockedHandshake | ConnectionState::Closed => Ok(Step::Blocked),
        // This side does not accept early data.
        _ => Err(Error::General("unexpected state of TLS".to_owned())),
    });
    (discard, step)
}

impl Buffer {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.end]
    }

    pub(super) fn clear(&mut self) {
        self.end = 0;
    }

    /// Takes the bytes of `other`.
    fn append(&mut self, other: &mut Self) {
        if other.end == 0 {
            // What the memory held before stays, so that the next write need not clear it again.
            return;
        }
        self.bytes.truncate(self.end);
        self.bytes.extend_from_slice(other.bytes());
        self.end = self.bytes.len();
        other.clear();
    }

    /// Lets `write` write to the end, and calls it again with so much memory as it needs.
    fn write(&mut self, mut write: impl FnMut(&mut [u8]) -> Result<usize, Missing>) -> Result<(), Error> {
        loop {
            match write(&mut self.bytes[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(Missing::Memory(size)) => self.bytes.resize(self.end + size, 0),
                Err(Missing::Other(error)) => return Err(error),
            }
        }
    }
}

/// Why nothing was written.
enum Missing {
    /// It needs so many bytes of memory.
    Memory(usize),
    Other(Error),
}

fn encode_error(error: EncodeError) -> Missing {
    match error {
        EncodeError::InsufficientSize(needed) => Missing::Memory(needed.required_size),
        EncodeError::AlreadyEncoded => Missing::Other(Error::General(error.to_string())),
    }
}

fn encrypt_error(error: EncryptError) -> Missing {
    match error {
        EncryptError::InsufficientSize(needed) => Missing::Memory(needed.required_size),
        EncryptError::EncryptExhausted => Missing::Other(Error::EncryptError),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use xvirt_testing::certificates::Authority;

    use super::*;
    use crate::migrate::Tls;

    /// Both sides of a connection that is secure.
    pub(in super::super) fn connected() -> [Records; 2] {
        let authority = Authority::new("the pool");
        let host = authority.sign("host", |_| {});
        let pem = [host.certificate, host.key, authority.certificate];
        let tls = Tls::from_pem(pem[0].as_bytes(), pem[1].as_bytes(), pem[2].as_bytes()).unwrap();
        let name = ServerName::try_from("host").unwrap();
        let mut sides = [Records::client(tls.client, name).unwrap(), Records::server(tls.server).unwrap()];
        for from in [0, 1, 0] {
            let mut records = Buffer::default();
            sides[from].shake_hands(&mut records).unwrap();
            sides[1 - from].arrive(records.bytes()).unwrap();
        }
        sides[1].shake_hands(&mut Buffer::default()).unwrap();
        assert!(sides.iter().all(Records::is_secure));
        sides
    }

    fn encrypted(side: &mut Records, bytes: &[u8]) -> Vec<u8> {
        let mut records = Buffer::default();
        side.encrypt(bytes, &mut records).unwrap();
        records.bytes().to_vec()
    }

    fn read(side: &mut Records, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let count = side.read(length, &mut |done, part| {
            assert_eq!(done, bytes.len());
            bytes.extend_from_slice(part);
        })?;
        assert!(count == bytes.len() && count <= length);
        Ok(bytes)
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    #[test]
    fn bytes_arrive_in_any_pieces_and_are_read_in_any() {
        let bytes = pattern(100_000);
        for (piece, length) in [(1, 70_000), (7, 24), (4096, 1), (16_406, 65_536), (RECEIVE, 5000)] {
            let [mut source, mut target] = connected();
            let mut got = Vec::new();
            for piece in encrypted(&mut source, &bytes).chunks(piece) {
                target.arrive(piece).unwrap();
                loop {
                    match read(&mut target, length).unwrap() {
                        part if part.is_empty() => break,
                        part => got.extend(part),
                    }
                }
            }
            assert!(got == bytes, "pieces of {piece}, read by {length}");
        }
    }

    #[test]
    fn a_side_can_send_while_bytes_of_the_other_wait() {
        let [mut source, mut target] = connected();
        let bytes = pattern(40_000);
        let records = encrypted(&mut source, &bytes);
        let (arrived, late) = records.split_at(20_000);
        target.arrive(arrived).unwrap();
        let mut got = read(&mut target, 10).unwrap();
        source.arrive(&encrypted(&mut target, b"an answer")).unwrap();
        assert_eq!(read(&mut source, 100).unwrap(), b"an answer");
        target.arrive(late).unwrap();
        got.extend(read(&mut target, bytes.len()).unwrap());
        assert!(got == bytes);
    }

    #[test]
    fn the_end_comes_after_the_last_byte() {
        let [mut source, mut target] = connected();
        let mut records = Buffer::default();
        source.encrypt(b"the last", &mut records).unwrap();
        source.close(&mut records).unwrap();
        target.arrive(records.bytes()).unwrap();
        assert_eq!(read(&mut target, 4).unwrap(), b"the ");
        assert!(!target.is_at_end());
        assert_eq!(read(&mut target, 100).unwrap(), b"last");
        assert!(target.is_at_end() && read(&mut target, 100).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_record_is_an_error_after_the_bytes_before_it_and_the_peer_is_told() {
        let [mut source, mut target] = connected();
        let mut records = encrypted(&mut source, b"whole");
        records.extend(encrypted(&mut source, b"damaged"));
        *records.last_mut().unwrap() ^= 1;
        target.arrive(&records).unwrap();
        assert_eq!(read(&mut target, 100).unwrap(), b"whole");
        assert_eq!(read(&mut target, 100), Err(Error::DecryptError));
        assert_eq!(read(&mut target, 100), Err(Error::DecryptError));
        source.arrive(target.answers.bytes()).unwrap();
        let alert = source.check().unwrap_err();
        assert!(matches!(alert, Error::AlertReceived(_)), "{alert}");
    }

    #[test]
    fn a_record_that_never_ends_is_refused() {
        let [_, mut target] = connected();
        let endless = vec![0x17; RECEIVE];
        let refused = target.arrive(&endless).and_then(|()| target.check());
        assert!(refused.is_err());
        let [_, mut target] = connected();
        // Nobody processes it.
        target.arrive(&endless).unwrap();
        assert!(target.arrive(&endless).is_err());
    }
}
