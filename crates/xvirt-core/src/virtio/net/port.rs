//! What the driver's view of a network card and its handler share: the cable, and what may pass through it.

use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::MAX_FRAME;
use super::backend::NetBackend;
use super::statistics::NetCounters;
use crate::config::{NicLimit, RateLimit};
use crate::limit::Limiter;
use crate::sync::lock;

/// Frames that are discarded at once: more than a tap holds, and an end where they come faster than they go.
const MAX_DISCARDED: usize = 1 << 16;

/// Hears on the device's thread whether there is a connection; it must not block.
type Listener = Box<dyn Fn(bool) + Send + Sync>;

pub(super) struct Port {
    pub(super) backend: Arc<dyn NetBackend>,
    /// Whether the cable is plugged in.
    plugged: AtomicBool,
    /// Whether there is somebody at its other end.
    connected: AtomicBool,
    listener: OnceLock<Listener>,
    /// Of what the guest receives. Kept here and not in the handler, which a driver makes anew by resetting the device.
    pub(super) receive: Mutex<Limiter>,
    /// Of what the guest sends.
    pub(super) transmit: Mutex<Limiter>,
    pub(super) counters: NetCounters,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("backend", &self.backend).field("link_up", &self.link_up()).finish_non_exhaustive()
    }
}

impl Port {
    pub(super) fn new(backend: Arc<dyn NetBackend>, link_up: bool) -> Self {
        let unlimited = || Mutex::new(Limiter::new(RateLimit::none(), Instant::now()));
        Self {
            connected: AtomicBool::new(backend.input().is_some()),
            backend,
            plugged: AtomicBool::new(link_up),
            listener: OnceLock::new(),
            receive: unlimited(),
            transmit: unlimited(),
            counters: NetCounters::default(),
        }
    }

    /// Whether frames can pass, as the driver is told.
    pub(super) fn link_up(&self) -> bool {
        self.plugged() && self.connected()
    }

    pub(super) fn plugged(&self) -> bool {
        self.plugged.load(Ordering::Acquire)
    }

    pub(super) fn set_link(&self, up: bool) {
        self.plugged.store(up, Ordering::Release);
    }

    pub(super) fn connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Takes note of whether there is a connection, and tells who listens if that is new.
    pub(super) fn set_connected(&self, connected: bool) {
        if self.connected.swap(connected, Ordering::AcqRel) != connected
            && let Some(listener) = self.listener.get()
        {
            listener(connected);
        }
    }

    /// Has `listener` told of connections from now on; only the first one is.
    pub(super) fn listen(&self, listener: Listener) {
        // A second one has no place, and there is none.
        let _ = self.listener.set(listener);
    }

    /// Drops what waits in the backend, as a card does that no driver has set up. A connection that turns out to be lost
    /// is for the next handler to notice.
    pub(super) fn discard(&self) {
        let mut frame = vec![0; MAX_FRAME];
        for _ in 0..MAX_DISCARDED {
            match self.backend.receive(&mut frame) {
                Ok(_) => self.counters.received.dropped(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    pub(super) fn limit(&self) -> NicLimit {
        NicLimit::none().receive(lock(&self.receive).limit()).transmit(lock(&self.transmit).limit())
    }

    pub(super) fn set_limit(&self, limit: NicLimit) {
        let now = Instant::now();
        lock(&self.receive).change(limit.receive, now);
        lock(&self.transmit).change(limit.transmit, now);
    }
}
