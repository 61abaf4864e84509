//! The driver-visible side of a network card.

use std::sync::Arc;

use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_CSUM, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_GUEST_CSUM,
    VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HOST_ECN,
    VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_MTU,
    VIRTIO_NET_F_STATUS, VIRTIO_NET_S_ANNOUNCE, VIRTIO_NET_S_LINK_UP,
};

use super::announcement::announcement;
use super::backend::NetBackend;
use super::handler::NetHandler;
use super::port::Port;
use super::statistics::NetCounters;
use crate::Result;
use crate::config::NicLimit;
use crate::memory::GuestSlice;
use crate::net::Offloads;
use crate::sandbox::Work;
use crate::virtio::device::read_config_bytes;
use crate::virtio::{DeviceKind, DeviceState, Handler, NetState, VirtioDevice};

/// Receive, transmit and control.
const QUEUE_SIZES: [u16; 3] = [256, 256, 64];
/// Features of every backend.
const OFFERED: [u32; 5] =
    [VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_GUEST_ANNOUNCE];
/// The features that a driver needs to announce itself (sections 5.1.3.1 and 5.1.6.5.4).
const ANNOUNCES: [u32; 3] = [VIRTIO_NET_F_STATUS, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_GUEST_ANNOUNCE];
/// Features of backends that handle offloads, such as taps.
const UNFINISHED: [u32; 8] = [
    VIRTIO_NET_F_CSUM,
    VIRTIO_NET_F_HOST_TSO4,
    VIRTIO_NET_F_HOST_TSO6,
    VIRTIO_NET_F_HOST_ECN,
    VIRTIO_NET_F_GUEST_CSUM,
    VIRTIO_NET_F_GUEST_TSO4,
    VIRTIO_NET_F_GUEST_TSO6,
    VIRTIO_NET_F_GUEST_ECN,
];

/// A virtio network card.
#[derive(Debug)]
pub(crate) struct Net {
    port: Arc<Port>,
    state: NetState,
}

impl Net {
    /// Builds the card of `state` on `backend`, without rate limits.
    pub(crate) fn new(backend: Arc<dyn NetBackend>, state: NetState) -> Self {
        Self { port: Arc::new(Port::new(backend, &state)), state }
    }

    /// Sets whether the cable is plugged in. The transport's `config_changed` notifies the driver.
    pub(crate) fn set_link(&self, up: bool) {
        self.port.set_link(up);
    }

    /// The current state as the driver sees it.
    pub(crate) fn state(&self) -> NetState {
        NetState { link_up: self.port.plugged(), announce: self.port.announce(), ..self.state.clone() }
    }

    /// Whether it is the card of a copy of a VM, whose driver may use the address of that one.
    pub(crate) fn has_other_address(&self) -> bool {
        !self.state.former.is_empty()
    }

    /// The link state that the driver sees: the cable is plugged in, and the backend is connected.
    pub(crate) fn link_up(&self) -> bool {
        self.port.link_up()
    }

    /// Calls `listener` on the device's thread when the backend loses or regains its connection.
    pub(crate) fn on_connection(&self, listener: impl Fn(bool) + Send + Sync + 'static) {
        self.port.listen(Box::new(listener));
    }

    /// The rate limit.
    pub(crate) fn limit(&self) -> NicLimit {
        self.port.limit()
    }

    /// The counters of its frames.
    pub(crate) fn counters(&self) -> &NetCounters {
        &self.port.counters
    }

    /// Makes the card known to the switches on the host's side after a move: by its driver, which knows all its
    /// addresses and VLANs, or else by a reverse ARP request. The device must be paused. If this returns `true`, the
    /// configuration has changed.
    pub(crate) fn announce(&self) -> bool {
        let by_driver = self.port.driver_announces();
        let pending = self.port.announce();
        if by_driver {
            self.port.set_announce(true);
        }
        // A driver that has not acknowledged an earlier move may do so just now, without looking again.
        if !by_driver || pending {
            self.send_announcement();
        }
        by_driver
    }

    fn send_announcement(&self) {
        let mut frame = announcement(self.state.mac);
        if let Err(error) = self.port.backend.send(&[GuestSlice::from(&mut frame[..])]) {
            tracing::debug!(%error, "a network card cannot be announced");
        }
    }

    /// Sets the rate limit. Waiting frames are checked again when the transport is kicked.
    pub(crate) fn set_limit(&self, limit: NicLimit) {
        self.port.set_limit(limit);
    }
}

impl VirtioDevice for Net {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Net
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn features(&self) -> u64 {
        let unfinished: &[u32] = if self.port.backend.takes_unfinished() { &UNFINISHED } else { &[] };
        let mtu: &[u32] = if self.state.mtu.is_some() { &[VIRTIO_NET_F_MTU] } else { &[] };
        OFFERED.iter().chain(unfinished).chain(mtu).fold(0, |features, bit| features | 1 << bit)
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        // struct virtio_net_config (section 5.1.4).
        let mut config = [0; 12];
        config[..6].copy_from_slice(&self.state.mac);
        let status = [(self.port.link_up(), VIRTIO_NET_S_LINK_UP), (self.port.announce(), VIRTIO_NET_S_ANNOUNCE)];
        config[6] = status.iter().filter(|(set, _)| *set).fold(0, |status, (_, bit)| status | *bit as u8);
        config[10..].copy_from_slice(&self.state.mtu.unwrap_or(0).to_le_bytes());
        read_config_bytes(&config, offset, data);
    }

    fn activate(&self, features: u64) -> Result<Box<dyn Handler>> {
        let has = |bit: u32| features >> bit & 1 != 0;
        // Segmentation offload requires checksum offload, and ECN requires segmentation offload.
        let checksum = has(VIRTIO_NET_F_GUEST_CSUM);
        let (tso4, tso6) = (checksum && has(VIRTIO_NET_F_GUEST_TSO4), checksum && has(VIRTIO_NET_F_GUEST_TSO6));
        let tso_ecn = (tso4 || tso6) && has(VIRTIO_NET_F_GUEST_ECN);
        self.port.backend.set_offloads(Offloads { checksum, tso4, tso6, tso_ecn, uso: false })?;
        self.port.set_driver_announces(ANNOUNCES.into_iter().all(has));
        let mergeable = has(VIRTIO_NET_F_MRG_RXBUF);
        Ok(Box::new(NetHandler::new(self.port.clone(), mergeable, has(VIRTIO_NET_F_CTRL_VQ))))
    }

    fn reset(&self) {
        self.port.set_driver_announces(false);
        self.port.set_announce(false);
        self.port.discard();
    }

    fn save(&self) -> DeviceState {
        DeviceState::Net(self.state())
    }

    fn work(&self) -> Option<Work> {
        Some(self.port.backend.work())
    }
}
