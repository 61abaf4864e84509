//! The guest's configuration of a network interface.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{InterfaceAddress, invalid, name};
use crate::Result;
use crate::net::MacAddress;

/// The guest's configuration of the network interface with a MAC address, which is
/// [`Nic::mac`](crate::config::Nic::mac).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SeedNic {
    /// The MAC address that identifies the interface.
    pub mac: MacAddress,
    /// Whether it gets an IPv4 address by DHCP.
    #[serde(default)]
    pub dhcp: bool,
    /// Static addresses.
    #[serde(default)]
    pub addresses: Vec<InterfaceAddress>,
    /// Default gateways: at most one IPv4 and one IPv6 address, each with a static address of its IP version.
    ///
    /// With a static address of 32 or 128 bits, a gateway outside of it is taken to be on the link. Guests with netplan or
    /// NetworkManager then reach it, and for IPv4 those with ifupdown; cloud-init does not tell networkd that the gateway
    /// is there. For IPv6, a gateway's link-local address (`fe80::1`) is right in every guest.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    #[serde(default)]
    pub nameservers: Vec<IpAddr>,
    /// Domains in which short names are looked up.
    #[serde(default)]
    pub search_domains: Vec<String>,
    /// Whether it gets IPv6 addresses and the IPv6 gateway from router advertisements.
    #[serde(default)]
    pub router_advertisements: bool,
}

impl SeedNic {
    /// Gets an IPv4 address by DHCP.
    pub fn dhcp(mac: MacAddress) -> Self {
        Self { dhcp: true, ..Self::new(mac) }
    }

    /// Has a static address.
    pub fn static_address(mac: MacAddress, address: InterfaceAddress) -> Self {
        Self { addresses: vec![address], ..Self::new(mac) }
    }

    /// Gets IPv6 addresses and the IPv6 gateway from router advertisements, and no IPv4 address.
    pub fn router_advertised(mac: MacAddress) -> Self {
        Self::new(mac).router_advertisements()
    }

    /// Also gets IPv6 addresses and the IPv6 gateway from router advertisements.
    #[must_use]
    pub fn router_advertisements(mut self) -> Self {
        self.router_advertisements = true;
        self
    }

    /// Adds an address.
    #[must_use]
    pub fn address(mut self, address: InterfaceAddress) -> Self {
        self.addresses.push(address);
        self
    }

    /// Adds a default gateway.
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
            router_advertisements: false,
        }
    }

    /// The address of 32 or 128 bits with which a gateway must be on the link; `None` if it is in a network of the NIC, or
    /// link-local.
    pub(super) fn on_link_address(&self, gateway: IpAddr) -> Option<InterfaceAddress> {
        let is_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if is_local || self.addresses.iter().any(|address| address.reaches(gateway)) {
            return None;
        }
        self.addresses.iter().copied().find(|own| own.is_host() && own.ip().is_ipv4() == gateway.is_ipv4())
    }

    pub(super) fn check(&self) -> Result<()> {
        let mac = self.mac;
        if !mac.is_unicast() {
            return Err(invalid(
                format!("a NIC cannot have the mac {mac}"),
                "use the MAC address of the VM's NIC, which is not a multicast address",
            ));
        }
        if !self.dhcp && !self.router_advertisements && self.addresses.is_empty() {
            let remedy = "add an address, or use dhcp or router_advertisements";
            return Err(invalid(format!("NIC {mac} has no addresses"), remedy));
        }
        self.check_gateways()?;
        self.search_domains.iter().try_for_each(|domain| name::check_search_domain(domain))
    }

    fn check_gateways(&self) -> Result<()> {
        let mac = self.mac;
        for gateway in &self.gateways {
            if self.gateways.iter().filter(|other| other.is_ipv4() == gateway.is_ipv4()).count() > 1 {
                return Err(invalid(
                    format!("NIC {mac} has several gateways of the same IP version, such as {gateway}"),
                    "use at most one for IPv4 and one for IPv6",
                ));
            }
            let is_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
            let is_reached = is_local || self.addresses.iter().any(|address| address.reaches(*gateway));
            if !is_reached && self.on_link_address(*gateway).is_none() {
                return Err(invalid(
                    format!("the gateway {gateway} is in none of the networks of NIC {mac}"),
                    "give the NIC an address in the network of its gateway, or one of 32 or 128 bits if the gateway is \
                     on the link",
                ));
            }
            if !self.addresses.iter().any(|address| address.ip().is_ipv4() == gateway.is_ipv4()) {
                return Err(invalid(
                    format!("NIC {mac} has the gateway {gateway}, but no static address of its IP version"),
                    "add an address, or leave the gateway to router advertisements",
                ));
            }
        }
        Ok(())
    }
}
