//! The channels of both sides, which make encrypted connections of others.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use super::records::Records;
use super::refusal::{explain, too_slow};
use super::session::Session;
use crate::Error;
use crate::migrate::channel::{Channel, Connection};
use crate::migrate::lobby::{INTRODUCTION, Lobby};
use crate::progress::interrupted;
use crate::sync::lock;
use crate::wait::{Wait, cancelled};

/// The source's side.
pub(super) struct Connector<C> {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
    peer: String,
    inner: C,
}

impl<C> Connector<C> {
    pub(super) fn new(config: Arc<ClientConfig>, server: ServerName<'static>, name: &str, inner: C) -> Self {
        Self { config, server, peer: format!("host '{name}'"), inner }
    }
}

impl<C: Channel> Channel for Connector<C> {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        let wait = Wait::at_most(limit);
        let inner = self.inner.connect(limit)?;
        let tls = Records::client(Arc::clone(&self.config), self.server.clone())
            .map_err(|e| io::Error::other(explain(&self.peer, e)))?;
        let session = Session::new(inner, tls, self.peer.clone());
        while !session.shake_hands()? {
            let secure = format_args!("a TLS connection to {}", self.peer);
            wait.check().map_err(|ended| io::Error::other(ended.error(secure, || too_slow(&self.peer))))?;
        }
        Ok(Box::new(session))
    }
}

/// The target's side.
pub(super) struct Acceptor<C> {
    config: Arc<ServerConfig>,
    inner: C,
    /// The connections whose handshakes go on.
    handshakes: Mutex<Lobby<Session>>,
}

const PEER: &str = "the host that connected";

impl<C: Channel> Acceptor<C> {
    pub(super) fn new(config: Arc<ServerConfig>, inner: C) -> Self {
        Self { config, inner, handshakes: Mutex::new(Lobby::new(INTRODUCTION)) }
    }

    fn begin(&self, limit: Duration) -> io::Result<Session> {
        let inner = self.inner.connect(limit)?;
        let tls = Records::server(Arc::clone(&self.config)).map_err(|e| io::Error::other(explain(PEER, e)))?;
        Ok(Session::new(inner, tls, PEER.to_owned()))
    }
}

impl<C: Channel> Channel for Acceptor<C> {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        let deadline = Instant::now() + limit;
        let mut handshakes = lock(&self.handshakes);
        loop {
            if interrupted() {
                return Err(io::Error::other(cancelled("the source of a migration to connect")));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = handshakes.accept(left, |limit| self.begin(limit)) {
                return Err(after(handshakes.refused().as_ref(), error));
            }
            if let Some(session) = handshakes.advance() {
                return Ok(Box::new(session));
            }
            if left.is_zero() && !handshakes.is_empty() {
                let error = io::Error::new(io::ErrorKind::TimedOut, too_slow(PEER));
                return Err(after(handshakes.refused().as_ref(), error));
            }
        }
    }
}

/// The error that no peer can be accepted, after the last was refused.
fn after(refused: Option<&Error>, error: io::Error) -> io::Error {
    match refused {
        Some(last) => {
            let what = format!("a connection was refused ({last}), and no other came");
            io::Error::new(error.kind(), Error::io(what, error))
        }
        None => error,
    }
}
