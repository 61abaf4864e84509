//! How many connections there are, in all and of each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::connection::Shared;
use super::throttle::network;
use crate::sync::lock;

/// Room for the connections of the socket, or for those from the network.
pub(super) struct Room {
    pub(super) shared: Arc<Shared>,
    pub(super) most: usize,
    pub(super) connections: Arc<Semaphore>,
    /// Those that wait for room, or are being refused.
    pub(super) waiting: Arc<Semaphore>,
    addresses: Addresses,
    /// Whether the log says already that there is none, so that it does not grow by a line for each.
    pub(super) told: AtomicBool,
}

type Addresses = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Counts a connection among those of its address.
pub(super) struct OfAddress {
    addresses: Addresses,
    address: IpAddr,
}

impl Room {
    pub(super) fn new(shared: Arc<Shared>, waiting: usize) -> Arc<Self> {
        let most = shared.admission.limits().connections.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            shared,
            most,
            connections: Arc::new(Semaphore::new(most)),
            waiting: Arc::new(Semaphore::new(waiting)),
            addresses: Addresses::default(),
            told: AtomicBool::new(false),
        })
    }

    /// Counts a connection from an address; `None` if there are too many.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<OfAddress> {
        let address = network(address);
        let mut addresses = lock(&self.addresses);
        let count = addresses.entry(address).or_default();
        // An entry that was made just now has none, and there is room for one at least.
        if *count >= self.shared.admission.limits().connections_of_address.max(1) {
            return None;
        }
        *count += 1;
        Some(OfAddress { addresses: Arc::clone(&self.addresses), address })
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut addresses = lock(&self.addresses);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}
