//! State that the device and its handler share: the link, limits and counters.

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
use crate::memory::GuestSlice;
use crate::net::VNET_HEADER_LEN;
use crate::sync::lock;
use crate::virtio::NetState;

/// The most frames discarded at once: more than a tap holds, and a bound in case they arrive faster.
const MAX_DISCARDED: usize = 1 << 16;

/// Where the address of the sender ends, behind the header and the address of the receiver.
const SOURCE_END: usize = VNET_HEADER_LEN + 12;

/// Receives changes of the connection on the device's thread. It must not block.
type Listener = Box<dyn Fn(bool) + Send + Sync>;

pub(super) struct Port {
    pub(super) backend: Arc<dyn NetBackend>,
    /// Whether the cable is plugged in.
    plugged: AtomicBool,
    /// Whether the driver announces the card when it is asked to.
    driver_announces: AtomicBool,
    /// Whether the driver is asked to announce the card, and has not acknowledged that.
    announce: AtomicBool,
    /// Whether the backend is connected.
    connected: AtomicBool,
    listener: OnceLock<Listener>,
    /// The limit on received frames. It is kept here and not in the handler, because a driver gets a new handler by
    /// resetting the device.
    pub(super) receive: Mutex<Limiter>,
    /// The limit on sent frames.
    pub(super) transmit: Mutex<Limiter>,
    pub(super) counters: NetCounters,
    /// The addresses of the VMs of which this one is a copy, from which nothing is sent.
    former: Vec<[u8; 6]>,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("backend", &self.backend).field("link_up", &self.link_up()).finish_non_exhaustive()
    }
}

impl Port {
    /// The port of a card in `state`.
    pub(super) fn new(backend: Arc<dyn NetBackend>, state: &NetState) -> Self {
        let unlimited = || Mutex::new(Limiter::new(RateLimit::none(), Instant::now()));
        Self {
            connected: AtomicBool::new(backend.input().is_some()),
            backend,
            plugged: AtomicBool::new(state.link_up),
            driver_announces: AtomicBool::new(false),
            announce: AtomicBool::new(state.announce),
            listener: OnceLock::new(),
            receive: unlimited(),
            transmit: unlimited(),
            counters: NetCounters::default(),
            former: state.former.clone(),
        }
    }

    /// The link state that the driver sees.
    pub(super) fn link_up(&self) -> bool {
        self.plugged() && self.connected()
    }

    pub(super) fn plugged(&self) -> bool {
        self.plugged.load(Ordering::Acquire)
    }

    pub(super) fn set_link(&self, up: bool) {
        self.plugged.store(up, Ordering::Release);
    }

    pub(super) fn driver_announces(&self) -> bool {
        self.driver_announces.load(Ordering::Acquire)
    }

    pub(super) fn set_driver_announces(&self, announces: bool) {
        self.driver_announces.store(announces, Ordering::Release);
    }

    /// Whether the driver sees that it should announce the card.
    pub(super) fn announce(&self) -> bool {
        self.announce.load(Ordering::Acquire)
    }

    pub(super) fn set_announce(&self, announce: bool) {
        self.announce.store(announce, Ordering::Release);
    }

    pub(super) fn connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Sets whether the backend is connected, and tells the listener if that has changed.
    pub(super) fn set_connected(&self, connected: bool) {
        if self.connected.swap(connected, Ordering::AcqRel) != connected
            && let Some(listener) = self.listener.get()
        {
            listener(connected);
        }
    }

    /// Reports to `listener` from now on. Only the first call has an effect.
    pub(super) fn listen(&self, listener: Listener) {
        // It is called once per device.
        let _ = self.listener.set(listener);
    }

    /// Whether a frame, with the header before it, is sent from the address of another VM, of which this one is a copy.
    pub(super) fn is_from_another(&self, frame: &[GuestSlice<'_>]) -> bool {
        if self.former.is_empty() {
            return false;
        }
        let mut start = [0; SOURCE_END];
        let mut filled = 0;
        for piece in frame {
            filled += piece.copy_to(&mut start[filled..]);
        }
        self.former.iter().any(|former| start.ends_with(former))
    }

    /// Drops frames that wait in the backend, like a card without a driver. The next handler handles a lost connection.
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
