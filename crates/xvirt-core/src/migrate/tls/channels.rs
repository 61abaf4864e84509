//! The channels of both sides, which make encrypted connections of others.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{io, mem, thread};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use super::refusal::{explain, too_slow};
use super::session::Session;
use crate::Error;
use crate::migrate::channel::{Channel, Connection};
use crate::sync::lock;
use crate::thread::with_signals_blocked;

/// How long the handshake of an accepted connection may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes go on at a time. If another peer connects, the oldest ends.
const HANDSHAKES: usize = 16;

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
        let deadline = Instant::now() + limit;
        let inner = self.inner.connect(limit)?;
        let tls = ClientConnection::new(Arc::clone(&self.config), self.server.clone())
            .map_err(|e| io::Error::other(explain(&self.peer, e)))?;
        let session = Session::new(inner, tls.into(), self.peer.clone());
        while !session.shake_hands()? {
            if Instant::now() > deadline {
                return Err(io::Error::other(too_slow(&self.peer)));
            }
        }
        Ok(Box::new(session))
    }
}

/// The target's side.
pub(super) struct Acceptor<C> {
    config: Arc<ServerConfig>,
    inner: C,
    /// Oldest first. Several, because a peer that says nothing must not keep the source waiting.
    handshakes: Mutex<Vec<Handshake>>,
}

struct Handshake {
    session: Session,
    deadline: Instant,
}

const PEER: &str = "the host that connected";

impl<C: Channel> Acceptor<C> {
    pub(super) fn new(config: Arc<ServerConfig>, inner: C) -> Self {
        Self { config, inner, handshakes: Mutex::default() }
    }

    fn begin(&self, inner: Box<dyn Connection>) -> io::Result<Handshake> {
        let tls = ServerConnection::new(Arc::clone(&self.config)).map_err(|e| io::Error::other(explain(PEER, e)))?;
        let session = Session::new(inner, tls.into(), PEER.to_owned());
        Ok(Handshake { session, deadline: Instant::now() + HANDSHAKE })
    }

    /// Accepts a connection if one is there, and waits for it if no handshake goes on.
    fn accept(&self, handshakes: &mut Vec<Handshake>, limit: Duration) -> io::Result<()> {
        let limit = if handshakes.is_empty() { limit } else { Duration::ZERO };
        match self.inner.connect(limit) {
            Ok(inner) => handshakes.push(self.begin(inner)?),
            Err(error) if handshakes.is_empty() => return Err(error),
            Err(_) => {}
        }
        if handshakes.len() > HANDSHAKES {
            handshakes.remove(0);
        }
        Ok(())
    }
}

impl<C: Channel> Channel for Acceptor<C> {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        let deadline = Instant::now() + limit;
        let mut handshakes = lock(&self.handshakes);
        let mut refused = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = self.accept(&mut handshakes, left) {
                return Err(after(refused, error));
            }
            if let Some(session) = advance(&mut handshakes, &mut refused) {
                return Ok(Box::new(session));
            }
            if left.is_zero() && !handshakes.is_empty() {
                return Err(after(refused, io::Error::other(too_slow(PEER))));
            }
        }
    }
}

/// Goes on with all handshakes. Returns the first connection that is secure, and drops those that fail.
fn advance(handshakes: &mut Vec<Handshake>, refused: &mut Option<io::Error>) -> Option<Session> {
    let steps = shake_hands(handshakes);
    let mut secure = None;
    for (handshake, step) in mem::take(handshakes).into_iter().zip(steps) {
        let error = match step {
            Ok(true) if secure.is_none() => {
                secure = Some(handshake.session);
                continue;
            }
            Ok(done) if done || Instant::now() < handshake.deadline => {
                handshakes.push(handshake);
                continue;
            }
            Ok(_) => io::Error::other(too_slow(PEER)),
            Err(error) => error,
        };
        tracing::warn!(%error, "a connection for a migration was refused");
        *refused = Some(error);
    }
    secure
}

/// A step of each handshake, at the same time, because each waits for its peer.
fn shake_hands(handshakes: &[Handshake]) -> Vec<io::Result<bool>> {
    let Some((first, others)) = handshakes.split_first() else { return Vec::new() };
    thread::scope(|scope| {
        let start = |session| {
            with_signals_blocked(|| thread::Builder::new().spawn_scoped(scope, move || Session::shake_hands(session)))
        };
        let threads: Vec<_> = others.iter().map(|handshake| start(&handshake.session)).collect();
        let mut steps = vec![first.session.shake_hands()];
        let panicked = |_| Err(io::Error::other("a thread for a TLS handshake panicked"));
        steps
            .extend(threads.into_iter().map(|thread| thread.and_then(|thread| thread.join().unwrap_or_else(panicked))));
        steps
    })
}

/// The error that no other peer can be accepted, after the last was refused.
fn after(refused: Option<io::Error>, error: io::Error) -> io::Error {
    match refused {
        Some(last) => {
            io::Error::other(Error::io(format!("a connection was refused ({last}), and no other came"), error))
        }
        None => error,
    }
}
