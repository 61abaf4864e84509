//! Renders `network-config`, so that every renderer of cloud-init makes the same of it.
//!
//! cloud-init translates this file for the network software of its guest: ifupdown, networkd, NetworkManager, sysconfig or
//! netplan. Each translation loses something, in the version of Debian 12 above all:
//!
//! - Of a route to `::/0` all but netplan lose the prefix length, and they take it for a route of the first address, of
//!   whichever IP version. `gateway4` and `gateway6` are right everywhere, but need an address of their IP version.
//! - Only netplan knows `on-link`. NetworkManager finds out by itself. With ifupdown, a route to the gateway through the
//!   NIC's own address says the same, for IPv4. Two routes to a half each stand for `::/0`.
//! - In version 2 there is nothing for an interface without addresses but router advertisements, and ifupdown would not
//!   bring it up. Version 1 has it, but no `on-link`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::render::yaml;
use super::{InterfaceAddress, SeedNic};
use crate::Result;
use crate::net::MacAddress;

pub(super) fn network_config(nics: &[SeedNic]) -> Result<String> {
    let named = nics.iter().enumerate().map(|(number, nic)| (format!("eth{number}"), nic));
    let only_advertised = |nic: &SeedNic| nic.router_advertisements && !nic.dhcp && nic.addresses.is_empty();
    let has_on_link = |nic: &SeedNic| nic.gateways.iter().any(|gateway| nic.on_link_address(*gateway).is_some());
    if nics.iter().any(only_advertised) && !nics.iter().any(has_on_link) {
        return yaml(&Version1 { version: 1, config: named.flat_map(|(name, nic)| items(name, nic)).collect() });
    }
    yaml(&Version2 { version: 2, ethernets: named.map(|(name, nic)| (name.clone(), ethernet(name, nic))).collect() })
}

#[derive(Serialize)]
struct Version2<'a> {
    version: u8,
    ethernets: BTreeMap<String, Ethernet<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Ethernet<'a> {
    r#match: Match,
    set_name: String,
    dhcp4: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    accept_ra: Option<bool>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    addresses: &'a [InterfaceAddress],
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway4: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway6: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
    #[serde(skip_serializing_if = "NameServers::is_empty")]
    nameservers: NameServers<'a>,
}

#[derive(Serialize)]
struct Match {
    macaddress: MacAddress,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Route {
    to: String,
    via: IpAddr,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    on_link: bool,
}

#[derive(Serialize)]
struct NameServers<'a> {
    addresses: &'a [IpAddr],
    search: &'a [String],
}

impl NameServers<'_> {
    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.search.is_empty()
    }
}

fn ethernet(name: String, nic: &SeedNic) -> Ethernet<'_> {
    let mut ethernet = Ethernet {
        r#match: Match { macaddress: nic.mac },
        // Without it, cloud-init's renderers other than netplan's use the key as the interface's name.
        set_name: name,
        dhcp4: nic.dhcp,
        accept_ra: nic.router_advertisements.then_some(true),
        addresses: &nic.addresses,
        gateway4: None,
        gateway6: None,
        routes: Vec::new(),
        nameservers: NameServers { addresses: &nic.nameservers, search: &nic.search_domains },
    };
    for gateway in &nic.gateways {
        match (nic.on_link_address(*gateway), gateway) {
            (None, IpAddr::V4(_)) => ethernet.gateway4 = Some(*gateway),
            (None, IpAddr::V6(_)) => ethernet.gateway6 = Some(*gateway),
            (Some(own), IpAddr::V4(_)) => ethernet.routes.extend([
                Route { to: format!("{gateway}/32"), via: own.ip(), on_link: false },
                Route { to: "0.0.0.0/0".to_owned(), via: *gateway, on_link: true },
            ]),
            (Some(_), IpAddr::V6(_)) => {
                let half = |to: &str| Route { to: to.to_owned(), via: *gateway, on_link: true };
                ethernet.routes.extend([half("::/1"), half("8000::/1")]);
            }
        }
    }
    ethernet
}

#[derive(Serialize)]
struct Version1<'a> {
    version: u8,
    config: Vec<Item<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item<'a> {
    Physical { name: String, mac_address: MacAddress, subnets: Vec<Subnet> },
    Nameserver { address: &'a [IpAddr], search: &'a [String] },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Subnet {
    Dhcp4,
    Static {
        address: InterfaceAddress,
        #[serde(skip_serializing_if = "Option::is_none")]
        gateway: Option<IpAddr>,
    },
    #[serde(rename = "ipv6_slaac")]
    RouterAdvertisements,
}

/// The interface, and its name servers.
fn items(name: String, nic: &SeedNic) -> Vec<Item<'_>> {
    let mut gateways = nic.gateways.clone();
    let fixed = nic.addresses.iter().map(|address| {
        // With the first address of its IP version.
        let of_this = gateways.iter().position(|gateway| gateway.is_ipv4() == address.ip().is_ipv4());
        Subnet::Static { address: *address, gateway: of_this.map(|at| gateways.swap_remove(at)) }
    });
    let subnets = nic.dhcp.then_some(Subnet::Dhcp4).into_iter().chain(fixed);
    let subnets = subnets.chain(nic.router_advertisements.then_some(Subnet::RouterAdvertisements)).collect();
    let mut items = vec![Item::Physical { name, mac_address: nic.mac, subnets }];
    if !nic.nameservers.is_empty() || !nic.search_domains.is_empty() {
        items.push(Item::Nameserver { address: &nic.nameservers, search: &nic.search_domains });
    }
    items
}
