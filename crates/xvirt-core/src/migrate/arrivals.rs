//! The connections that a target accepts. Each says in its `Hello` which migration it belongs to; all others are dropped.

use std::io;
use std::time::{Duration, Instant};

use super::channel::{CONNECTION_WAIT, Channel, Connection};
use super::frame::{HEADER, Header, PREAMBLE, broken, check_preamble, preamble};
use super::link::{closed, is_wait, lost};
use super::lobby::{INTRODUCTION, Lobby, Newcomer, may_come_later};
use super::message::{Hello, Kind, Reasons, decode, encode};
use super::settings::MAX_CONNECTIONS;
use crate::{Error, ErrorKind, Result};

/// Accepts connections.
pub(super) struct Arrivals<'a> {
    channel: &'a dyn Channel,
    lobby: Lobby<Unknown>,
}

/// A connection that has said which migration it belongs to.
pub(super) struct Arrived {
    pub(super) hello: Hello,
    newcomer: Unknown,
}

impl Arrived {
    pub(super) fn into_connection(self) -> Box<dyn Connection> {
        self.newcomer.connection
    }
}

impl<'a> Arrivals<'a> {
    /// Connections of `channel`, which may be silent for `silence`.
    pub(super) fn new(channel: &'a dyn Channel, silence: Duration) -> Self {
        Self { channel, lobby: Lobby::new(silence.min(INTRODUCTION)) }
    }

    /// Waits for the first connection of a source until `check` fails.
    ///
    /// # Errors
    /// Those of `check`; or no more connections can be accepted: then why the last one was dropped, if one was.
    pub(super) fn first(&mut self, check: &dyn Fn() -> Result<()>) -> Result<Arrived> {
        loop {
            check()?;
            let arrived = match self.next() {
                Ok(Some(arrived)) => arrived,
                Ok(None) => continue,
                Err(error) if may_come_later(&error) => continue,
                Err(error) => {
                    check()?;
                    return Err(self.lobby.refused().take().unwrap_or_else(|| cannot_accept(error)));
                }
            };
            let Hello { connection, connections, .. } = arrived.hello;
            if connection == 0 && (1..=MAX_CONNECTIONS).contains(&connections) {
                return Ok(arrived);
            }
            let what = format!("a source begins with connection {connection} of {connections}, which is not possible");
            self.lobby.drop_one(arrived.newcomer, broken(what));
        }
    }

    /// Waits for another connection of the migration that `first` began, at most for `limit`, until `check` fails.
    ///
    /// # Errors
    /// Those of `check`; none has come in time; or no more can be accepted.
    pub(super) fn another(
        &mut self,
        first: &Hello,
        limit: Duration,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Arrived> {
        let deadline = Instant::now() + limit;
        loop {
            check()?;
            match self.next() {
                Ok(Some(arrived)) if arrived.hello.migration == first.migration => return Ok(arrived),
                Ok(Some(arrived)) => {
                    let error = Error::new(ErrorKind::Busy, "this target receives another VM");
                    self.lobby.drop_one(arrived.newcomer, error.with_remedy("migrate again when it has arrived"));
                }
                Ok(None) if Instant::now() < deadline => {}
                Err(error) if may_come_later(&error) && Instant::now() < deadline => {}
                Ok(None) => return Err(missing(limit)),
                Err(error) if may_come_later(&error) => return Err(missing(limit).because(error)),
                Err(error) => return Err(cannot_accept(error)),
            }
        }
    }

    /// The next connection that says which migration it belongs to, if there is one soon.
    fn next(&mut self) -> io::Result<Option<Arrived>> {
        let accept = |limit| Ok(Unknown { connection: self.channel.connect(limit)?, received: Vec::new() });
        self.lobby.accept(CONNECTION_WAIT, accept)?;
        let Some(newcomer) = self.lobby.advance() else { return Ok(None) };
        match newcomer.hello() {
            Ok(hello) => return Ok(Some(Arrived { hello, newcomer })),
            Err(error) => self.lobby.drop_one(newcomer, error),
        }
        Ok(None)
    }
}

fn cannot_accept(error: io::Error) -> Error {
    Error::io("cannot accept a connection of the source", error)
}

fn missing(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("the source has not opened all its connections for {limit:?}"))
        .with_remedy("check the network, or raise the limit for a silent peer")
}

/// A connection whose `Hello` has not arrived completely.
struct Unknown {
    connection: Box<dyn Connection>,
    /// Its preamble and `Hello`, as far as they have arrived. Nothing else is received.
    received: Vec<u8>,
}

impl Unknown {
    /// How many bytes have to arrive before more is known.
    fn wanted(&self) -> Result<usize> {
        let Some((start, rest)) = self.received.split_first_chunk::<PREAMBLE>() else { return Ok(PREAMBLE) };
        check_preamble(start)?;
        let Some(header) = rest.first_chunk::<HEADER>() else { return Ok(PREAMBLE + HEADER) };
        let header = Header::decode(header)?;
        if header.kind != Kind::Hello {
            return Err(broken(format!("the peer begins with '{}'", header.kind)));
        }
        Ok(PREAMBLE + HEADER + header.length)
    }

    /// What it has said, once it is complete.
    fn hello(&self) -> Result<Hello> {
        let message = self.received.get(PREAMBLE..).and_then(|message| message.split_first_chunk::<HEADER>());
        let Some((header, body)) = message else { return Err(closed()) };
        Header::decode(header)?.check(body)?;
        decode(Kind::Hello, body)
    }
}

impl Newcomer for Unknown {
    fn advance(&mut self) -> Result<bool> {
        // The longest Hello.
        let mut buffer = [0; PREAMBLE + HEADER + (1 << 10)];
        let wanted = self.wanted()?;
        if self.received.len() < wanted {
            let place = &mut buffer[..wanted - self.received.len()];
            match self.connection.receive(place) {
                Ok(0) => return Err(closed()),
                Ok(count) => self.received.extend_from_slice(&place[..count]),
                Err(error) if is_wait(&error) => {}
                Err(error) => return Err(lost(error)),
            }
        }
        Ok(self.received.len() >= self.wanted()?)
    }

    fn too_slow(&self) -> Error {
        Error::new(ErrorKind::Timeout, "the peer has not said in time which migration it belongs to")
    }

    fn refuse(&self, why: &Error) {
        let reasons = Reasons { reasons: vec![why.to_string()] };
        if let Ok(frame) = encode(Kind::Refused, &reasons) {
            // Closing the connection says the same without the reason.
            let _ = self.connection.send(&[preamble().to_vec(), frame].concat());
        }
        self.connection.finish();
    }
}
