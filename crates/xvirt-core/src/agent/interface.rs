//! The guest's network interfaces.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::handle::GuestAgent;
use super::message::{NoArguments, not_understood};
use crate::Result;
use crate::net::MacAddress;

/// A network interface as the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetworkInterface {
    /// The guest's name for it, such as `eth0`.
    pub name: String,
    /// Its MAC address, which identifies the VM's NIC; `None` if it has none, or a hardware address of another length.
    pub mac: Option<MacAddress>,
    /// Its addresses.
    pub addresses: Vec<GuestAddress>,
}

/// An address of a network interface in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuestAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of the network prefix in bits: at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Told {
    name: String,
    hardware_address: Option<String>,
    #[serde(default)]
    ip_addresses: Vec<ToldAddress>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ToldAddress {
    ip_address: IpAddr,
    prefix: u8,
}

impl GuestAgent {
    /// The guest's network interfaces with their addresses, including the loopback interface.
    ///
    /// # Errors
    /// Those of [all calls](Self#errors).
    pub fn network_interfaces(&self) -> Result<Vec<NetworkInterface>> {
        let told: Vec<Told> = self.call("guest-network-get-interfaces", NoArguments {})?;
        told.into_iter()
            .map(Told::checked)
            .collect::<Result<_>>()
            .map_err(|error| self.channel.failed("guest-network-get-interfaces", error))
    }
}

impl Told {
    pub(super) fn checked(self) -> Result<NetworkInterface> {
        let addresses = self.ip_addresses.into_iter().map(ToldAddress::checked).collect::<Result<_>>()?;
        // InfiniBand and tunnels have addresses of other lengths.
        let mac = self.hardware_address.and_then(|text| text.parse().ok());
        Ok(NetworkInterface { name: self.name, mac, addresses })
    }
}

impl ToldAddress {
    fn checked(self) -> Result<GuestAddress> {
        let Self { ip_address: address, prefix } = self;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix > bits {
            return Err(not_understood(format_args!("{address}/{prefix} has a prefix that is too long")));
        }
        Ok(GuestAddress { address, prefix })
    }
}
