//! How the guest sets up a network interface.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{InterfaceAddress, invalid, name};
use crate::Result;
use crate::net::MacAddress;

/// How the guest sets up the network interface with a hardware address: the one that
/// [`Nic::mac`](crate::config::Nic::mac) gives it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SeedNic {
    /// The hardware address it is recognised by.
    pub mac: MacAddress,
    /// Whether a DHCP server gives it an IPv4 address.
    #[serde(default)]
    pub dhcp: bool,
    /// Addresses it has of its own.
    #[serde(default)]
    pub addresses: Vec<InterfaceAddress>,
    /// Where everything goes that is in no network of an interface: one IPv4 and one IPv6 address at most.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    #[serde(default)]
    pub nameservers: Vec<IpAddr>,
    /// Domains in which short names are looked up.
    #[serde(default)]
    pub search_domains: Vec<String>,
}

impl SeedNic {
    /// Takes an IPv4 address from a DHCP server.
    pub fn dhcp(mac: MacAddress) -> Self {
        Self { dhcp: true, ..Self::new(mac) }
    }

    /// Has an address of its own.
    pub fn static_address(mac: MacAddress, address: InterfaceAddress) -> Self {
        Self { addresses: vec![address], ..Self::new(mac) }
    }

    /// Adds an address.
    #[must_use]
    pub fn address(mut self, address: InterfaceAddress) -> Self {
        self.addresses.push(address);
        self
    }

    /// Sends everything that is in no network of an interface to this address.
    #[must_use]
    pub fn gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.gateways.push(gateway.into());
        self
    }

    /// Adds a name server.
    #[must_use]
    pub fn nameserver(mut self, server: impl Into<IpAddr>) -> Self {
        self.nameservers.push(server.into());
        self
    }

    /// Adds a domain in which short names are looked up.
    #[must_use]
    pub fn search_domain(mut self, domain: impl Into<String>) -> Self {
        self.search_domains.push(domain.into());
        self
    }

    fn new(mac: MacAddress) -> Self {
        Self {
            mac,
            dhcp: false,
            addresses: Vec::new(),
            gateways: Vec::new(),
            nameservers: Vec::new(),
            search_domains: Vec::new(),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let mac = self.mac;
        if !mac.is_unicast() {
            return Err(invalid(
                format!("the mac {mac} is not the address of a NIC"),
                "use the one the VM's NIC has, which is not a group's",
            ));
        }
        if !self.dhcp && self.addresses.is_empty() {
            return Err(invalid(format!("NIC {mac} has no addresses"), "give it one, or use dhcp"));
        }
        self.check_gateways()?;
        self.search_domains.iter().try_for_each(|domain| name::check_search_domain(domain))
    }

    fn check_gateways(&self) -> Result<()> {
        let mac = self.mac;
        for gateway in &self.gateways {
            if self.gateways.iter().filter(|other| other.is_ipv4() == gateway.is_ipv4()).count() > 1 {
                return Err(invalid(
                    format!("NIC {mac} has several gateways of one kind, such as {gateway}"),
                    "give it one for IPv4 and one for IPv6 at most",
                ));
            }
            let is_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
            if !is_local && !self.addresses.iter().any(|address| address.reaches(*gateway)) {
                return Err(invalid(
                    format!("the gateway {gateway} is in none of the networks of NIC {mac}"),
                    "give the NIC an address in the network of its gateway",
                ));
            }
        }
        Ok(())
    }
}
