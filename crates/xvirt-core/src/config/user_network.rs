//! A network that needs neither privileges nor configuration.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::invalid;
use crate::Result;
use crate::net::{PasstCommand, check_name};
use crate::seed::InterfaceAddress;

/// The name of the program, which is searched in `PATH`.
const PROGRAM: &str = "passt";
/// The only prefix length for IPv6 (RFC 4862 requires 64 bits on Ethernet).
const IPV6_PREFIX: u8 = 64;

/// A network of one guest behind the program `passt` (<https://passt.top>): the guest's traffic uses ordinary sockets
/// of this user, like that of any other program, and ports of the host can be forwarded to the guest.
///
/// The guest gets its address by DHCP, and by DHCPv6 or router advertisements. By default its address, gateway and name
/// servers are those of the host.
///
/// This is not a firewall: the guest can reach everything that a program of this user can reach, including services of
/// the host at addresses other than the guest's, except those that listen only on the host's loopback interface.
///
/// ```
/// use std::net::Ipv4Addr;
/// use xvirt_core::config::{Nic, PortForward, UserNetwork, VmConfig};
///
/// # fn run() -> xvirt_core::Result<()> {
/// let network = UserNetwork::new()
///     .address("10.0.2.15/24".parse()?)
///     .gateway(Ipv4Addr::new(10, 0, 2, 2))
///     // ssh -p 2222 root@localhost
///     .forward(PortForward::tcp(2222, 22).host_address(Ipv4Addr::LOCALHOST));
/// let config = VmConfig::new("web-1").nic(Nic::user_network(network));
/// # Ok(())
/// # }
/// # run().unwrap();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UserNetwork {
    /// The guest's address; the host's if absent.
    pub address: Option<InterfaceAddress>,
    /// The guest's gateway; the host's if absent.
    pub gateway: Option<IpAddr>,
    /// The guest's name server; those of the host if absent.
    pub name_server: Option<IpAddr>,
    /// The host interface whose addresses and routes the guest gets; that of the default route if absent.
    pub interface: Option<String>,
    /// Ports of the host that are forwarded to the guest.
    pub forwards: Vec<PortForward>,
    /// Whether the guest can reach services on the host's loopback interface, at the address of its gateway.
    pub host_loopback: bool,
    /// The program to start instead of the `passt` in `PATH`. It is not stored, because the right to change a stored VM
    /// must not include the right to start programs.
    #[serde(skip)]
    pub program: Option<PathBuf>,
}

/// A port of the host that is forwarded to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PortForward {
    /// The protocol of both ports.
    pub protocol: TransportProtocol,
    /// The address of the host for the port; all addresses if absent.
    #[serde(default)]
    pub host_address: Option<IpAddr>,
    /// The port of the host. Ports below 1024 usually need a privilege (`CAP_NET_BIND_SERVICE`).
    pub host_port: u16,
    /// The port of the guest.
    pub guest_port: u16,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TransportProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl UserNetwork {
    /// A network without forwarded ports, with the host's addresses.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the guest's address.
    #[must_use]
    pub fn address(mut self, address: InterfaceAddress) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the guest's gateway.
    #[must_use]
    pub fn gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.gateway = Some(gateway.into());
        self
    }

    /// Sets the guest's name server.
    #[must_use]
    pub fn name_server(mut self, address: impl Into<IpAddr>) -> Self {
        self.name_server = Some(address.into());
        self
    }

    /// Sets the host interface whose addresses and routes the guest gets.
    #[must_use]
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.interface = Some(name.into());
        self
    }

    /// Forwards a port of the host to the guest.
    #[must_use]
    pub fn forward(mut self, forward: PortForward) -> Self {
        self.forwards.push(forward);
        self
    }

    /// Sets whether the guest can reach services on the host's loopback interface, at the address of its gateway.
    #[must_use]
    pub fn host_loopback(mut self, on: bool) -> Self {
        self.host_loopback = on;
        self
    }

    /// Sets the program to start instead of the `passt` in `PATH`.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        self.check_addresses()?;
        self.interface.as_deref().map_or(Ok(()), check_name)?;
        for (index, forward) in self.forwards.iter().enumerate() {
            if forward.host_port == 0 || forward.guest_port == 0 {
                return Err(invalid(format!("{forward} names port 0"), "forward ports from 1 to 65535"));
            }
            if let Some(other) = self.forwards[..index].iter().find(|other| other.overlaps(forward)) {
                return Err(invalid(
                    format!("{forward} and {other} use the same port of the host"),
                    "forward each port of the host once",
                ));
            }
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<()> {
        let named = [("gateway", self.gateway), ("name server", self.name_server)];
        for (what, address) in named.into_iter().filter_map(|(what, address)| Some((what, address?))) {
            if address.is_unspecified() || address.is_multicast() {
                return Err(invalid(format!("{address} cannot be a {what}"), "use the address of a single host"));
            }
        }
        let Some(address) = self.address else { return Ok(()) };
        if address.ip().is_loopback() {
            return Err(invalid(
                format!("a guest cannot have the address {address}"),
                "use an address other than a loopback address",
            ));
        }
        if address.ip().is_ipv6() && address.prefix() != IPV6_PREFIX {
            return Err(invalid(
                format!("a guest on a user network cannot have the address {address}"),
                "use a prefix of 64 bits for IPv6",
            ));
        }
        match self.gateway {
            Some(gateway) if gateway == address.ip() => {
                Err(invalid(format!("{gateway} is the address of the guest and of its gateway"), "use two addresses"))
            }
            Some(gateway) if gateway.is_ipv4() == address.ip().is_ipv4() && !address.reaches(gateway) => Err(invalid(
                format!("the gateway {gateway} is not in the network of the address {address}"),
                "use a gateway in the same network",
            )),
            _ => Ok(()),
        }
    }

    /// The `passt` command for this network, for a guest with this MTU.
    pub(crate) fn command(&self, mtu: Option<u16>) -> PasstCommand {
        let mut options = Vec::new();
        let mut option = |name: &str, value: &dyn fmt::Display| options.extend([name.to_owned(), value.to_string()]);
        if let Some(address) = self.address {
            option("--address", &address.ip());
            if address.ip().is_ipv4() {
                option("--netmask", &address.prefix());
            }
        }
        self.gateway.iter().for_each(|gateway| option("--gateway", gateway));
        self.name_server.iter().for_each(|address| option("--dns", address));
        self.interface.iter().for_each(|name| option("--interface", name));
        mtu.iter().for_each(|mtu| option("--mtu", mtu));
        for (protocol, name) in [(TransportProtocol::Tcp, "--tcp-ports"), (TransportProtocol::Udp, "--udp-ports")] {
            let mut forwards = self.forwards.iter().filter(|forward| forward.protocol == protocol).peekable();
            if forwards.peek().is_none() {
                // By default, some versions also forward the UDP ports with the numbers of forwarded TCP ports.
                option(name, &"none");
            }
            forwards.for_each(|forward| option(name, &forward.specification()));
        }
        if !self.host_loopback {
            options.push("--no-map-gw".to_owned());
        }
        PasstCommand { program: self.program.clone().unwrap_or_else(|| PROGRAM.into()), options }
    }
}

impl PortForward {
    /// Forwards TCP connections to `host_port` of the host to `guest_port` of the guest.
    pub fn tcp(host_port: u16, guest_port: u16) -> Self {
        Self { protocol: TransportProtocol::Tcp, host_address: None, host_port, guest_port }
    }

    /// Forwards UDP datagrams to `host_port` of the host to `guest_port` of the guest.
    pub fn udp(host_port: u16, guest_port: u16) -> Self {
        Self { protocol: TransportProtocol::Udp, ..Self::tcp(host_port, guest_port) }
    }

    /// Sets the address of the host for the port, such as a loopback address, which other machines cannot reach.
    #[must_use]
    pub fn host_address(mut self, address: impl Into<IpAddr>) -> Self {
        self.host_address = Some(address.into());
        self
    }

    /// Whether both use the same port of the host.
    fn overlaps(&self, other: &Self) -> bool {
        let all = |address: Option<IpAddr>| address.is_none_or(|address| address.is_unspecified());
        self.protocol == other.protocol
            && self.host_port == other.host_port
            && (all(self.host_address) || all(other.host_address) || self.host_address == other.host_address)
    }

    /// The value of the `passt` option.
    fn specification(&self) -> String {
        let ports = format!("{}:{}", self.host_port, self.guest_port);
        self.host_address.map_or_else(|| ports.clone(), |address| format!("{address}/{ports}"))
    }
}

impl fmt::Display for PortForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            TransportProtocol::Tcp => "TCP",
            TransportProtocol::Udp => "UDP",
        };
        write!(f, "the forward of {protocol} {}", self.specification())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::config::Nic;

    fn refused(network: UserNetwork) -> String {
        let error = Nic::user_network(network).check().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidConfig);
        error.to_string()
    }

    fn options(network: &UserNetwork, mtu: Option<u16>) -> String {
        network.command(mtu).options.join(" ")
    }

    fn whole() -> UserNetwork {
        UserNetwork::new()
            .address("10.0.2.15/24".parse().unwrap())
            .gateway(Ipv4Addr::new(10, 0, 2, 2))
            .name_server(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53))
            .interface("eth0")
            .forward(PortForward::tcp(2222, 22).host_address(Ipv4Addr::LOCALHOST))
            .forward(PortForward::tcp(2222, 23).host_address(Ipv6Addr::LOCALHOST))
            .forward(PortForward::udp(2222, 53))
            .host_loopback(true)
    }

    #[test]
    fn it_is_said_to_passt() {
        assert_eq!(options(&UserNetwork::new(), None), "--tcp-ports none --udp-ports none --no-map-gw");
        assert_eq!(UserNetwork::new().command(None).program, PathBuf::from("passt"));
        assert_eq!(UserNetwork::new().program("/opt/passt").command(None).program, PathBuf::from("/opt/passt"));
        assert_eq!(
            options(&whole(), Some(1400)),
            "--address 10.0.2.15 --netmask 24 --gateway 10.0.2.2 --dns 2001:db8::53 --interface eth0 --mtu 1400 \
             --tcp-ports 127.0.0.1/2222:22 --tcp-ports ::1/2222:23 --udp-ports 2222:53"
        );
        assert_eq!(
            options(&UserNetwork::new().address("2001:db8::10/64".parse().unwrap()), None),
            "--address 2001:db8::10 --tcp-ports none --udp-ports none --no-map-gw"
        );
    }

    #[test]
    fn mistakes_are_named_with_their_remedy() {
        Nic::user_network(whole()).check().unwrap();
        let with = |forward| UserNetwork::new().forward(PortForward::tcp(80, 8080)).forward(forward);
        for forward in [PortForward::udp(80, 80), PortForward::tcp(81, 8080)] {
            Nic::user_network(with(forward)).check().unwrap();
        }
        let everywhere = Ipv4Addr::UNSPECIFIED;
        for forward in [PortForward::tcp(80, 1), PortForward::tcp(80, 1).host_address(everywhere)] {
            let expected = format!(
                "{forward} and the forward of TCP 80:8080 use the same port of the host; forward each port of the \
                 host once"
            );
            assert_eq!(refused(with(forward)), expected);
        }
        assert_eq!(
            refused(with(PortForward::tcp(0, 1))),
            "the forward of TCP 0:1 names port 0; forward ports from 1 to 65535"
        );
        assert_eq!(
            refused(with(PortForward::udp(1, 0))),
            "the forward of UDP 1:0 names port 0; forward ports from 1 to 65535"
        );
        let at = |address: &str| UserNetwork::new().address(address.parse().unwrap());
        assert_eq!(
            refused(at("127.0.0.1/8")),
            "a guest cannot have the address 127.0.0.1/8; use an address other than a loopback address"
        );
        assert_eq!(
            refused(at("2001:db8::1/48")),
            "a guest on a user network cannot have the address 2001:db8::1/48; use a prefix of 64 bits for IPv6"
        );
        assert_eq!(
            refused(at("10.0.2.15/24").gateway(Ipv4Addr::new(10, 0, 2, 15))),
            "10.0.2.15 is the address of the guest and of its gateway; use two addresses"
        );
        assert_eq!(
            refused(at("10.0.2.15/24").gateway(Ipv4Addr::new(10, 0, 3, 2))),
            "the gateway 10.0.3.2 is not in the network of the address 10.0.2.15/24; use a gateway in the same network"
        );
        assert_eq!(
            refused(UserNetwork::new().name_server(everywhere)),
            "0.0.0.0 cannot be a name server; use the address of a single host"
        );
        assert!(refused(UserNetwork::new().interface("eth0:1")).contains("interface name \"eth0:1\""));
        let bridged = Nic::user().bridge("br0").check().unwrap_err().to_string();
        assert!(bridged.starts_with("a NIC on a socket cannot be on bridge br0"), "{bridged}");
    }

    #[test]
    fn it_survives_json_but_for_the_program() {
        let json = serde_json::to_string(&whole().program("/opt/passt")).unwrap();
        assert_eq!(serde_json::from_str::<UserNetwork>(&json).unwrap(), whole());
        assert_eq!(serde_json::from_str::<UserNetwork>("{}").unwrap(), UserNetwork::new());
        let stranger: UserNetwork = serde_json::from_str(r#"{"program":"/bin/sh"}"#).unwrap();
        assert_eq!(stranger, UserNetwork::new());
        let nic = r#"{"backend":{"user":{"forwards":[{"protocol":"tcp","host_port":2222,"guest_port":22}]}}}"#;
        let nic: Nic = serde_json::from_str(nic).unwrap();
        assert_eq!(serde_json::to_value(&nic.backend).unwrap()["user"]["forwards"][0]["host_port"], 2222);
    }
}
