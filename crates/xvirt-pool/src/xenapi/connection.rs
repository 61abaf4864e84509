//! The life of one connection.

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
use crate::operation::{Caller, Verbs};

/// What all connections share.
pub(super) struct Shared {
    pub(super) verbs: Arc<dyn Verbs>,
    pub(super) admission: Admission,
    pub(super) stopping: watch::Receiver<bool>,
}

/// What the requests of a connection share.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) caller: Caller,
    /// Until when the client must have read the answer, while there is one.
    overdue: watch::Sender<Option<Instant>>,
    answers: AtomicU64,
    /// Counts it among the connections until it and its console are gone.
    _counted: OwnedSemaphorePermit,
}

impl Connection {
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
pub(super) async fn serve<Io>(io: Io, caller: Caller, shared: Arc<Shared>, counted: OwnedSemaphorePermit)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (overdue, mut watched) = watch::channel(None);
    let mut stopping = shared.stopping.clone();
    let limits = shared.admission.limits().clone();
    let connection = Connection { shared, caller, overdue, answers: AtomicU64::new(0), _counted: counted };
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
