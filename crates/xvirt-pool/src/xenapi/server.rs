//! The thread that serves XenAPI.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::admission::Admission;
use super::connection::{Counted, Peer, Shared, serve};
use super::handler::no_room;
use super::limits::Limits;
use super::listener::{Accepted, Listener, Listeners};
use super::room::Room;
use super::socket;
use super::throttle::Throttle;
use crate::operation::Verbs;
use crate::{Error, Result};

/// How long a connection waits for another to end before it is refused.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(2);
/// Connections at once that wait for room or are being refused, at less than 2 KiB each. They are accepted, because a client
/// that does not block would not be told why it cannot connect. Further ones are not accepted until one has ended.
const WAITING: usize = 16_384;
/// The same for connections from the network, of which strangers can make as many as they like.
const WAITING_FROM_NETWORK: usize = 256;
/// How long a connection that is refused may take to read why.
const REFUSAL: Duration = Duration::from_secs(2);
/// How long nothing is accepted after that failed, which it does when there are no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves XenAPI, from threads of its own. Dropping it stops it without waiting for requests.
pub struct Server {
    path: PathBuf,
    stop: watch::Sender<Duration>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts to serve.
    ///
    /// # Errors
    /// `Busy` if another service listens at the path of the socket; `AlreadyExists` if something else is there; `Io`
    /// otherwise.
    pub fn start(verbs: Arc<dyn Verbs>, listeners: Listeners, limits: Limits) -> Result<Self> {
        let Listeners { socket: path, tcp } = listeners;
        let listener = socket::listen(&path)?;
        let cannot = |error: io::Error| {
            let _ = fs::remove_file(&path);
            Error::io("cannot serve XenAPI", error).with_remedy("raise the limits on threads and descriptors")
        };
        let rooms = if tcp.is_empty() { 1 } else { 2 };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(limits.threads().saturating_mul(rooms))
            .thread_name("xenapi-verb")
            .thread_stack_size(1 << 20)
            .build()
            .map_err(cannot)?;
        let (local, from_network) = {
            let _inside = runtime.enter();
            let local = Listener::Unix(tokio::net::UnixListener::from_std(listener).map_err(cannot)?);
            let tcp = tcp.into_iter().map(|(listener, certificate)| {
                Ok(Listener::Tcp(tokio::net::TcpListener::from_std(listener)?, certificate))
            });
            (local, tcp.collect::<io::Result<Vec<_>>>().map_err(cannot)?)
        };
        let (stop, stopped) = watch::channel(Duration::MAX);
        let run = move || {
            runtime.block_on(accept_all(local, from_network, verbs, limits, stopped));
            // Verbs that still run keep their threads until they end.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("xenapi".to_owned()).spawn(run).map_err(cannot)?;
        Ok(Self { path, stop, thread: Some(thread) })
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stops: accepts nothing more, closes idle connections and consoles, and waits at most `grace` for the answers to
    /// requests. Verbs that take longer go on, but their callers do not learn of it.
    pub fn stop(mut self, grace: Duration) {
        self.end(grace);
    }

    fn end(&mut self, grace: Duration) {
        let Some(thread) = self.thread.take() else { return };
        // Nobody finds it any more while the last requests are answered.
        let _ = fs::remove_file(&self.path);
        self.stop.send_replace(grace.min(Duration::from_secs(3600)));
        let _ = thread.join();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Accepts connections until the server stops, and waits for those that there are.
async fn accept_all(
    local: Listener,
    from_network: Vec<Listener>,
    verbs: Arc<dyn Verbs>,
    limits: Limits,
    mut stop: watch::Receiver<Duration>,
) {
    let (tell, stopping) = watch::channel(false);
    let room = |waiting| {
        let (verbs, stopping) = (Arc::clone(&verbs), stopping.clone());
        let admission = Admission::new(limits.clone());
        Room::new(Arc::new(Shared { verbs, admission, throttle: Throttle::default(), stopping }), waiting)
    };
    let rooms = [room(WAITING), room(WAITING_FROM_NETWORK)];
    let listeners = std::iter::once((local, &rooms[0])).chain(from_network.into_iter().map(|tcp| (tcp, &rooms[1])));
    let accepting: Vec<_> =
        listeners.map(|(listener, room)| tokio::spawn(accept(listener, Arc::clone(room))).abort_handle()).collect();
    let grace = stop.wait_for(|grace| *grace != Duration::MAX).await.map_or(Duration::ZERO, |grace| *grace);
    accepting.iter().for_each(tokio::task::AbortHandle::abort);
    tell.send_replace(true);
    let ended = async {
        for room in rooms {
            // All connections have ended when there is room for all.
            let _ = room.connections.acquire_many(u32::try_from(room.most).unwrap_or(u32::MAX)).await;
        }
    };
    let _ = timeout(grace, ended).await;
}

/// Accepts connections.
async fn accept(listener: Listener, room: Arc<Room>) {
    loop {
        let (accepted, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            // The peer has left already.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::NotConnected) => {
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of XenAPI");
                sleep(PAUSE).await;
                continue;
            }
        };
        let of_address = peer.address().map(|address| room.of_address(address));
        if let Some(None) = of_address {
            // Whoever has so many is no client that has to be told why.
            tracing::debug!(?peer, "too many connections from one address");
            continue;
        }
        let counted = |permit| Counted { _room: permit, _address: of_address.flatten() };
        if let Ok(permit) = Arc::clone(&room.connections).try_acquire_owned() {
            room.told.store(false, Ordering::Relaxed);
            tokio::spawn(begin(accepted, peer, Arc::clone(&room.shared), counted(permit)));
            continue;
        }
        let Ok(turn) = Arc::clone(&room.waiting).acquire_owned().await else { continue };
        let room = Arc::clone(&room);
        let waits = async move {
            let got = timeout(WAIT_FOR_ROOM, Arc::clone(&room.connections).acquire_owned()).await;
            if let Ok(Ok(permit)) = got {
                drop(turn);
                let counted = counted(permit);
                return begin(accepted, peer, Arc::clone(&room.shared), counted).await;
            }
            if !room.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(connections = room.most, "too many connections: some are refused");
            }
            let _ = match accepted {
                Accepted::Unix(stream) => timeout(REFUSAL, refuse(stream)).await,
                Accepted::Tcp(stream) => timeout(REFUSAL, refuse(stream)).await,
                // It would take work to tell it.
                Accepted::Tls(..) => return,
            };
        };
        tokio::spawn(waits);
    }
}

/// Serves a connection, after TLS has begun if it is to be used.
async fn begin(accepted: Accepted, peer: Peer, shared: Arc<Shared>, counted: Counted) {
    match accepted {
        Accepted::Unix(stream) => serve(stream, peer, shared, counted).await,
        Accepted::Tcp(stream) => serve(stream, peer, shared, counted).await,
        Accepted::Tls(stream, acceptor) => {
            match timeout(shared.admission.limits().handshake, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => serve(stream, peer, shared, counted).await,
                Ok(Err(error)) => tracing::debug!(%error, ?peer, "a client cannot begin TLS"),
                Err(_) => tracing::debug!(?peer, "a client does not begin TLS in time"),
            }
        }
    }
}

/// Says that there is no room, and waits until the client has read it.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.write_all(&no_room()).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}
