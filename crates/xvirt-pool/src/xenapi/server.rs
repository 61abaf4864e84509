//! The thread that serves XenAPI.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::admission::Admission;
use super::connection::{Shared, serve};
use super::handler::no_room;
use super::limits::Limits;
use super::socket;
use crate::operation::{Caller, Verbs};
use crate::{Error, Result};

/// How long a connection waits for another to end before it is refused.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(2);
/// Connections at once that wait for room or are being refused, at less than 2 KiB each. They are accepted, because a client
/// that does not block would not be told why it cannot connect. Further ones are not accepted until one has ended.
const WAITING: usize = 16_384;
/// How long a connection that is refused may take to read why.
const REFUSAL: Duration = Duration::from_secs(2);
/// How long nothing is accepted after that failed, which it does when there are no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves XenAPI on a unix socket, from threads of its own. Dropping it stops it without waiting for requests.
pub struct Server {
    path: PathBuf,
    stop: watch::Sender<Duration>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts to serve at a path, where a socket is made that its owner and its group may use (mode 0660). Who can
    /// connect may do everything.
    ///
    /// # Errors
    /// `Busy` if another service listens there; `AlreadyExists` if something else is there; `Io` otherwise.
    pub fn start(verbs: Arc<dyn Verbs>, path: impl Into<PathBuf>, limits: Limits) -> Result<Self> {
        let path = path.into();
        let listener = socket::listen(&path)?;
        let cannot = |error: io::Error| {
            let _ = fs::remove_file(&path);
            Error::io("cannot serve XenAPI", error).with_remedy("raise the limits on threads and descriptors")
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(limits.threads())
            .thread_name("xenapi-verb")
            .thread_stack_size(1 << 20)
            .build()
            .map_err(cannot)?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::from_std(listener).map_err(cannot)?
        };
        let (stop, stopped) = watch::channel(Duration::MAX);
        let run = move || {
            runtime.block_on(accept(&listener, verbs, limits, stopped));
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

async fn accept(listener: &UnixListener, verbs: Arc<dyn Verbs>, limits: Limits, mut stop: watch::Receiver<Duration>) {
    let most = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
    let (room, waiting) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(WAITING)));
    let (tell, stopping) = watch::channel(false);
    let shared = Arc::new(Shared { verbs, admission: Admission::new(limits), stopping });
    // So that a log does not grow by a line for each.
    let told = Arc::new(AtomicBool::new(false));
    let grace = loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            grace = stop.wait_for(|grace| *grace != Duration::MAX) => break grace.map_or(Duration::ZERO, |grace| *grace),
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of XenAPI");
                sleep(PAUSE).await;
                continue;
            }
        };
        let caller = match stream.peer_cred() {
            Ok(peer) => Caller::Local { uid: peer.uid() },
            Err(error) => {
                tracing::warn!(%error, "cannot tell who connected");
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        if let Ok(counted) = Arc::clone(&room).try_acquire_owned() {
            told.store(false, Ordering::Relaxed);
            tokio::spawn(serve(stream, caller, shared, counted));
            continue;
        }
        let Ok(turn) = Arc::clone(&waiting).acquire_owned().await else { continue };
        let (room, told) = (Arc::clone(&room), Arc::clone(&told));
        tokio::spawn(async move {
            let got = timeout(WAIT_FOR_ROOM, room.acquire_owned()).await;
            if let Ok(Ok(counted)) = got {
                drop(turn);
                return serve(stream, caller, shared, counted).await;
            }
            if !told.swap(true, Ordering::Relaxed) {
                tracing::warn!(connections = most, "too many connections: some are refused");
            }
            let _ = timeout(REFUSAL, refuse(stream)).await;
        });
    };
    tell.send_replace(true);
    // All connections have ended when there is room for all.
    let _ = timeout(grace, room.acquire_many(u32::try_from(most).unwrap_or(u32::MAX))).await;
}

/// Says that there is no room, and waits until the client has read it.
async fn refuse(mut stream: UnixStream) -> io::Result<()> {
    stream.write_all(&no_room()).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}
