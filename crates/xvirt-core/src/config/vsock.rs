//! A vsock device of a VM.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Descriptor, invalid};
use crate::Result;

/// The first CID for guests: 0 to 2 are the hypervisor, the loopback and the host.
const FIRST_CID: u32 = 3;
/// The wildcard CID.
const ANY_CID: u32 = u32::MAX;
/// The longest path of the socket in bytes, which leaves room for the suffix of the largest port.
const MAX_PATH: usize = 107 - "_4294967295".len();

/// Stream sockets between a VM and its host (`AF_VSOCK` in the guest), without a network; on the host they are unix
/// sockets.
///
/// A host program connects to `path`, writes `CONNECT <port>\n`, and reads `OK <port>\n` once a guest program that
/// listens on that port has accepted; if none listens, the connection is closed. A guest program that connects to CID
/// 2, port P reaches the host program that listens on the unix socket `<path>_P`. Firecracker and Cloud Hypervisor use
/// the same protocol, so programs for them work unchanged.
///
/// There can be 1024 connections at once; a reboot closes them all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Vsock {
    /// The guest's CID, 3 or more. VMs may use the same CID.
    pub cid: u32,
    /// The path of the unix socket for host programs. The socket is created at start, accessible only to this user, and
    /// removed at the end; a stale one is replaced.
    pub path: PathBuf,
    /// A listening unix socket for host programs. If set, the VM neither creates nor removes a socket at `path`.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Descriptor>,
}

impl Vsock {
    /// A vsock device with this CID and unix socket.
    pub fn new(cid: u32, path: impl Into<PathBuf>) -> Self {
        Self { cid, path: path.into(), listener: None }
    }

    /// Sets a listening unix stream socket for connections from host programs. A start makes it non-blocking. It stays
    /// open while the VM is halted: programs that connect then wait for the next start.
    ///
    /// Connections from the guest still go to the sockets at `<path>_P`. In a process that cannot connect, they are
    /// refused.
    ///
    /// A start fails with [`InvalidConfig`](crate::ErrorKind::InvalidConfig) if it is not such a socket.
    #[must_use]
    pub fn listener(mut self, socket: impl Into<Descriptor>) -> Self {
        self.listener = Some(socket.into());
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.cid < FIRST_CID || self.cid == ANY_CID {
            return Err(invalid(
                format!("{} is not a valid CID for a guest", self.cid),
                "use a CID from 3 to 4294967294",
            ));
        }
        let length = self.path.as_os_str().len();
        if length == 0 || length > MAX_PATH {
            return Err(invalid(
                format!("a vsock path of {length} bytes is not valid for a socket"),
                &format!("use a path of 1 to {MAX_PATH} bytes"),
            ));
        }
        Ok(())
    }
}
