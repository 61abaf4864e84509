//! Network interfaces of a VM.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{NicLimit, RateLimit, UserNetwork, invalid};
use crate::Result;
use crate::net::{FrameStream, MacAddress};

const MIN_MTU: u16 = 68;

/// A network interface of a VM: what it is connected to and how the guest sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Nic {
    /// What the interface is connected to.
    pub backend: NicBackendConfig,
    /// The hardware address; chosen at random when the VM is built where none is given.
    #[serde(default)]
    pub mac: Option<MacAddress>,
    /// The largest packet in bytes; the host interface's where none is given.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// The host's bridge that the tap interface is put on at start.
    #[serde(default)]
    pub bridge: Option<String>,
    /// How fast it may be.
    #[serde(default)]
    pub limit: NicLimit,
}

/// What a network interface is connected to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NicBackendConfig {
    /// A tap interface of this name: the existing one, or one made at start and removed with the VM.
    Tap(String),
    /// A tap interface made at start under a free name.
    NewTap,
    /// A tap interface given as an open descriptor.
    #[serde(skip)]
    TapDescriptor(Arc<OwnedFd>),
    /// The unix socket at this path, on which somebody listens who carries frames, such as `passt`.
    Stream(PathBuf),
    /// A unix socket that is connected already.
    #[serde(skip)]
    Connection(Arc<FrameStream>),
    /// A `passt` of its own, which is started and ended with the VM.
    User(UserNetwork),
}

impl Nic {
    /// Connects to the tap interface `name`, which is made if it does not exist.
    pub fn tap(name: impl Into<String>) -> Self {
        Self::new(NicBackendConfig::Tap(name.into()))
    }

    /// Connects to a new tap interface under a free name; the VM tells which.
    pub fn new_tap() -> Self {
        Self::new(NicBackendConfig::NewTap)
    }

    /// Connects to a tap interface that is already open, for programs without the right to open one.
    pub fn tap_descriptor(descriptor: OwnedFd) -> Self {
        Self::new(NicBackendConfig::TapDescriptor(Arc::new(descriptor)))
    }

    /// Connects to a network that takes neither privileges nor set-up, by the program `passt`, which must be installed. The
    /// guest finds there what it finds with [`user_network`](Self::user_network) and a [`UserNetwork`] without options.
    pub fn user() -> Self {
        Self::user_network(UserNetwork::new())
    }

    /// Connects to such a network, with these options.
    ///
    /// `passt` is a child of this process. It carries frames when [`Vm::start`](crate::vm::Vm::start) or the plugging of the
    /// interface returns, and ends with the VM, when the interface is unplugged, or with this process. If it ends before,
    /// the guest sees its cable unplugged until it has been started again: after a quarter of a second at first, and later
    /// after up to 30 seconds. It inherits none of the program's environment, open files and blocked signals, but a program
    /// that handles `SIGCHLD` hears of its end. What it says goes to the log at the level `DEBUG`.
    pub fn user_network(network: UserNetwork) -> Self {
        Self::new(NicBackendConfig::User(network))
    }

    /// Connects at start to the unix socket at `path`, on which `passt`, QEMU's `-netdev stream` or the like listens: a
    /// network that takes no privileges. When the peer goes, the guest sees its cable unplugged, and it is connected to
    /// again as soon as somebody listens.
    pub fn stream(path: impl Into<PathBuf>) -> Self {
        Self::new(NicBackendConfig::Stream(path.into()))
    }

    /// Connects to who is at the other end of a unix socket, as [`stream`](Self::stream) does, but only once: a connection
    /// that has ended stays so.
    pub fn connection(stream: FrameStream) -> Self {
        Self::new(NicBackendConfig::Connection(Arc::new(stream)))
    }

    /// Sets the hardware address.
    #[must_use]
    pub fn mac(mut self, mac: MacAddress) -> Self {
        self.mac = Some(mac);
        self
    }

    /// Sets the largest packet in bytes.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Puts the tap interface on a bridge of the host at start.
    #[must_use]
    pub fn bridge(mut self, name: impl Into<String>) -> Self {
        self.bridge = Some(name.into());
        self
    }

    /// Limits what the guest receives.
    #[must_use]
    pub fn receive_limit(mut self, limit: RateLimit) -> Self {
        self.limit.receive = limit;
        self
    }

    /// Limits what the guest sends.
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
                "use one that is neither a group's (the first byte is odd) nor all zeroes, or none for a random one",
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
                "use a tap for a bridge, or leave the bridge to who listens on the socket",
            ));
        }
        self.limit.check()
    }
}
