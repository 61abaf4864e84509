//! Network interfaces of a VM.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Descriptor, NicLimit, RateLimit, UserNetwork, invalid};
use crate::Result;
use crate::net::{FrameStream, MacAddress};

const MIN_MTU: u16 = 68;

/// A network interface of a VM: its connection on the host, and its properties for the guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Nic {
    /// The connection on the host.
    pub backend: NicBackendConfig,
    /// The MAC address; random if absent, chosen when the VM is built.
    #[serde(default)]
    pub mac: Option<MacAddress>,
    /// The MTU in bytes; that of the host's interface if absent.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// The bridge of the host to which the tap interface is added at start.
    #[serde(default)]
    pub bridge: Option<String>,
    /// The rate limit.
    #[serde(default)]
    pub limit: NicLimit,
}

/// The connection of a network interface on the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NicBackendConfig {
    /// A tap interface with this name: an existing one, or one that is created at start and removed with the VM.
    Tap(String),
    /// A tap interface that is created at start with a free name.
    NewTap,
    /// A tap interface as an open descriptor.
    #[serde(skip)]
    TapDescriptor(Descriptor),
    /// The unix socket at this path, on which a program that carries frames listens, such as `passt`.
    Stream(PathBuf),
    /// A connected unix socket.
    #[serde(skip)]
    Connection(Arc<FrameStream>),
    /// A `passt` process that is started and stopped with the VM.
    User(UserNetwork),
}

impl Nic {
    /// Connects to the tap interface `name`, which is created if it does not exist.
    pub fn tap(name: impl Into<String>) -> Self {
        Self::new(NicBackendConfig::Tap(name.into()))
    }

    /// Connects to a new tap interface with a free name, which the VM reports.
    pub fn new_tap() -> Self {
        Self::new(NicBackendConfig::NewTap)
    }

    /// Connects to an open tap interface, for programs without the privilege to open one.
    ///
    /// It must have been attached (`TUNSETIFF`) as a tap with `IFF_NO_PI` and `IFF_VNET_HDR`, which is checked at start
    /// ([`InvalidConfig`](crate::ErrorKind::InvalidConfig)). The start makes it non-blocking. A process that cannot
    /// create sockets must also set the [`mtu`](Self::mtu), because it cannot query it, and cannot use a
    /// [`bridge`](Self::bridge).
    pub fn tap_descriptor(descriptor: impl Into<Descriptor>) -> Self {
        Self::new(NicBackendConfig::TapDescriptor(descriptor.into()))
    }

    /// Connects to a network that needs neither privileges nor configuration, through the program `passt`, which must
    /// be installed. The network is that of [`user_network`](Self::user_network) with a default [`UserNetwork`].
    pub fn user() -> Self {
        Self::user_network(UserNetwork::new())
    }

    /// Connects to such a network with these options.
    ///
    /// `passt` is a child of this process. It carries frames once [`Vm::start`](crate::vm::Vm::start) or plugging the
    /// interface returns, and ends with the VM, when the interface is unplugged, or with this process. If it ends
    /// earlier, the guest's link goes down until `passt` has been restarted: after a quarter of a second at first, and
    /// later after up to 30 seconds. It inherits neither the program's environment nor its open files and blocked
    /// signals, but a program that handles `SIGCHLD` receives the signal when it ends. Its output goes to the log at
    /// the level `DEBUG`.
    pub fn user_network(network: UserNetwork) -> Self {
        Self::new(NicBackendConfig::User(network))
    }

    /// Connects at start to the unix socket at `path`, on which `passt`, QEMU's `-netdev stream` or a similar program
    /// listens; this needs no privileges. When the peer is gone, the guest's link goes down, and the connection is
    /// restored as soon as a program listens again.
    pub fn stream(path: impl Into<PathBuf>) -> Self {
        Self::new(NicBackendConfig::Stream(path.into()))
    }

    /// Connects to the peer of a unix socket, like [`stream`](Self::stream), but without reconnecting: a connection
    /// that has ended stays down. The peer can be a `passt --fd` that another process has started.
    pub fn connection(stream: FrameStream) -> Self {
        Self::new(NicBackendConfig::Connection(Arc::new(stream)))
    }

    /// Sets the MAC address.
    #[must_use]
    pub fn mac(mut self, mac: MacAddress) -> Self {
        self.mac = Some(mac);
        self
    }

    /// Sets the MTU in bytes.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Adds the tap interface to a bridge of the host at start.
    #[must_use]
    pub fn bridge(mut self, name: impl Into<String>) -> Self {
        self.bridge = Some(name.into());
        self
    }

    /// Limits received traffic.
    #[must_use]
    pub fn receive_limit(mut self, limit: RateLimit) -> Self {
        self.limit.receive = limit;
        self
    }

    /// Limits sent traffic.
    #[must_use]
    pub fn transmit_limit(mut self, limit: RateLimit) -> Self {
        self.limit.transmit = limit;
        self
    }

    fn new(backend: NicBackendConfig) -> Self {
        Self { backend, mac: None, mtu: None, bridge: None, limit: NicLimit::none() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(mac) = self.mac.filter(|mac| !mac.is_unicast()) {
            return Err(invalid(
                format!("a NIC cannot have the MAC address {mac}"),
                "use one that is neither a multicast address (with an odd first byte) nor all zeroes, or none for a random one",
            ));
        }
        if self.mtu.is_some_and(|mtu| mtu < MIN_MTU) {
            return Err(invalid("an MTU below 68 bytes cannot carry IPv4", "use an MTU between 68 and 65535"));
        }
        if let NicBackendConfig::User(network) = &self.backend {
            network.check()?;
        }
        let is_tap = match self.backend {
            NicBackendConfig::Tap(_) | NicBackendConfig::NewTap | NicBackendConfig::TapDescriptor(_) => true,
            NicBackendConfig::Stream(_) | NicBackendConfig::Connection(_) | NicBackendConfig::User(_) => false,
        };
        if let Some(bridge) = self.bridge.as_ref().filter(|_| !is_tap) {
            return Err(invalid(
                format!("a NIC on a socket cannot be on bridge {bridge}"),
                "use a tap for a bridge, or let the program that listens on the socket use the bridge",
            ));
        }
        self.limit.check()
    }
}
