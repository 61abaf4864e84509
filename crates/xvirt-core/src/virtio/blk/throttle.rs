//! Applies a disk's rate limit.

use std::sync::Mutex;
use std::time::Instant;

use crate::config::RateLimit;
use crate::limit::Limiter;
use crate::sync::lock;
use crate::virtio::Chain;

/// The rate limit of a disk. It belongs to the disk, not to the handler, because a driver gets a new handler by
/// resetting the device.
#[derive(Debug)]
pub(super) struct Throttle(Mutex<Limiter>);

impl Throttle {
    pub(super) fn open() -> Self {
        Self(Mutex::new(Limiter::new(RateLimit::none(), Instant::now())))
    }

    /// Admits a popped request, or returns the time at which to try again.
    pub(super) fn admit(&self, chain: &Chain) -> Result<(), Instant> {
        // One of the two holds the data, the other the header or the status.
        let bytes = chain.readable.len().max(chain.writable.len());
        lock(&self.0).grant(bytes, Instant::now())
    }

    pub(super) fn limit(&self) -> RateLimit {
        lock(&self.0).limit()
    }

    pub(super) fn set(&self, limit: RateLimit) {
        lock(&self.0).change(limit, Instant::now());
    }
}
