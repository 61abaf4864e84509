//! What the driver's view of a network card and its handler share: the cable, and what may pass through it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::backend::NetBackend;
use super::statistics::NetCounters;
use crate::config::{NicLimit, RateLimit};
use crate::limit::Limiter;
use crate::sync::lock;

#[derive(Debug)]
pub(super) struct Port {
    pub(super) backend: Arc<dyn NetBackend>,
    link_up: AtomicBool,
    /// Of what the guest receives. Kept here and not in the handler, which a driver makes anew by resetting the device.
    pub(super) receive: Mutex<Limiter>,
    /// Of what the guest sends.
    pub(super) transmit: Mutex<Limiter>,
    pub(super) counters: NetCounters,
}

impl Port {
    pub(super) fn new(backend: Arc<dyn NetBackend>, link_up: bool) -> Self {
        let unlimited = || Mutex::new(Limiter::new(RateLimit::none(), Instant::now()));
        let (receive, transmit) = (unlimited(), unlimited());
        Self { backend, link_up: AtomicBool::new(link_up), receive, transmit, counters: NetCounters::default() }
    }

    pub(super) fn link_up(&self) -> bool {
        self.link_up.load(Ordering::Acquire)
    }

    pub(super) fn set_link(&self, up: bool) {
        self.link_up.store(up, Ordering::Release);
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
