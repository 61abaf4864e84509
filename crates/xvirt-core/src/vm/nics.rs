//! Lists the network interfaces of a running VM and sets their link state.

use serde::{Deserialize, Serialize};

use super::devices::{Kind, NicSlot};
use super::handle::Vm;
use super::state::Verb;
use crate::Result;
use crate::config::NicLimit;
use crate::net::MacAddress;
use crate::virtio::NetState;

/// A network interface of a running VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NicStatus {
    /// Its position.
    pub position: usize,
    /// The host's interface or the socket that it is connected to; `passt` for a user network.
    pub interface: String,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Whether the guest sees the link as up.
    pub link_up: bool,
    /// Its rate limits.
    pub limit: NicLimit,
}

impl NicStatus {
    /// The status of a network interface in a machine; `None` if it is in none.
    pub(super) fn of(position: usize, nic: &NicSlot) -> Option<Self> {
        let nic = nic.device.as_ref()?;
        let (NetState { mac, .. }, link_up) = (nic.net.state(), nic.net.link_up());
        let (interface, limit) = (nic.interface.clone(), nic.net.limit());
        Some(Self { position, interface, mac: MacAddress::new(mac), link_up, limit })
    }
}

impl Vm {
    /// The network interfaces in the order of their positions; empty while the VM is halted.
    pub fn nics(&self) -> Vec<NicStatus> {
        self.live().map_or_else(|_| Vec::new(), |live| live.nics())
    }

    /// Sets the link of the network interface at position `nic` up or down. The guest sees the change immediately.
    ///
    /// # Errors
    /// [`InvalidState`](crate::ErrorKind::InvalidState) if the VM is halted,
    /// [`NotFound`](crate::ErrorKind::NotFound) if it has no interface at that position.
    pub fn set_link(&self, nic: usize, up: bool) -> Result<()> {
        let _turn = self.begin(Verb::SetLink)?;
        let live = self.inner.live();
        let nic = live
            .devices
            .nics
            .get(&nic)
            .and_then(|nic| nic.device.as_ref())
            .ok_or_else(|| self.no_such(Kind::Nic, nic))?;
        nic.net.set_link(up);
        nic.function.config_changed();
        Ok(())
    }
}
