//! The life of one connection.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::admission::Admission;
use super::handler;
use super::room::OfAddress;
use super::throttle::Throttle;
use crate::operation::{Caller, Failure, Verbs};

/// What all connections of the socket share, and all from the network.
pub(super) struct Shared {
    pub(super) verbs: Arc<dyn Verbs>,
    pub(super) admission: Admission,
    pub(super) throttle: Throttle,
    pub(super) stopping: watch::Receiver<bool>,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// The user with this number on this host, as the kernel says, who may do everything.
    Local { uid: u32 },
    /// Somebody at this address, who may do what its session allows.
    Remote(IpAddr),
}

impl Peer {
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Local { .. } => None,
            Self::Remote(address) => Some(address),
        }
    }
}

/// What the requests of a connection share.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    /// Until when the client must have read the answer, while there is one.
    overdue: watch::Sender<Option<Instant>>,
    answers: AtomicU64,
    /// Counts it among the connections until it and its console are gone.
    _counted: Counted,
}

/// What counts a connection while it is kept.
pub(super) struct Counted {
    pub(super) _room: OwnedSemaphorePermit,
    pub(super) _address: Option<OfAddress>,
}

impl Connection {
    /// Who calls with this session.
    ///
    /// # Errors
    /// `SESSION_INVALID`.
    pub(super) fn caller(&self, session: &str) -> Result<Caller, Failure> {
        let caller = self.shared.verbs.caller(session, self.peer.address());
        match self.peer {
            // The kernel says who it is, so that it needs no session.
            Peer::Local { uid } => Ok(caller.unwrap_or(Caller::Local { uid })),
            Peer::Remote(_) => caller,
        }
    }

    /// An answer is being sent from now on. Returns its number for [`sent`](Self::sent).
    pub(super) fn sending(&self) -> u64 {
        self.overdue.send_replace(Some(Instant::now() + self.shared.admission.limits().send));
        self.answers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The client has read an answer.
    pub(super) fn sent(&self, answer: u64) {
        // A later one may be on its way already.
        if self.answers.load(Ordering::Relaxed) == answer {
            self.overdue.send_replace(None);
        }
    }
}

/// Serves a connection until the client closes it, it is idle or too slow, or the server stops.
pub(super) async fn serve<Io>(io: Io, peer: Peer, shared: Arc<Shared>, counted: Counted)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (overdue, mut watched) = watch::channel(None);
    let mut stopping = shared.stopping.clone();
    let limits = shared.admission.limits().clone();
    let connection = Connection { shared, peer, overdue, answers: AtomicU64::new(0), _counted: counted };
    let connection = Arc::new(connection);
    let service = service_fn(move |request| handler::answer(Arc::clone(&connection), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(limits.head.max(8192)).max_headers(64);
    let mut served = pin!(http.serve_connection(TokioIo::new(io), service).with_upgrades());
    let mut told = false;
    loop {
        tokio::select! {
            ended = served.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection of XenAPI ended");
                }
                return;
            }
            // An error means that the server has gone, which stops it too.
            _ = stopping.wait_for(|stopping| *stopping), if !told => {
                told = true;
                served.as_mut().graceful_shutdown();
            }
            () = overdue_answer(&mut watched) => {
                tracing::debug!("a client of XenAPI does not read its answer");
                return;
            }
        }
    }
}

/// Returns when an answer should have been read and was not.
async fn overdue_answer(watched: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let until = *watched.borrow_and_update();
        let changed = match until {
            None => watched.changed().await,
            Some(until) => tokio::select! {
                () = sleep_until(until) => return,
                changed = watched.changed() => changed,
            },
        };
        if changed.is_err() {
            // All who could answer have gone; the connection ends by itself.
            return std::future::pending().await;
        }
    }
}
