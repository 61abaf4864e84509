//! Sockets between a VM and its host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::invalid;
use crate::Result;

/// The first identifier that is a guest's: 0 to 2 are the hypervisor, the loopback and the host.
const FIRST_CID: u32 = 3;
/// "Any", where an address is asked for.
const ANY_CID: u32 = u32::MAX;
/// Bytes in a socket's path, without those that the longest port takes.
const MAX_PATH: usize = 107 - "_4294967295".len();

/// Stream sockets between a VM and its host (`AF_VSOCK` in the guest), without a network; on the host they are unix
/// sockets.
///
/// A host program connects to `path`, writes `CONNECT <port>\n` and is answered `OK <port>\n` once a program in the guest
/// that listens on that port has accepted; where none listens it is disconnected. A program in the guest that connects
/// to CID 2, port P reaches the host program that listens on the unix socket `<path>_P`. Firecracker and Cloud Hypervisor
/// speak the same, so programs made for them work.
///
/// Up to 1024 connections at once; connections do not outlive a reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Vsock {
    /// The guest's context identifier, 3 or more. It need not differ from that of another VM.
    pub cid: u32,
    /// The unix socket for host programs. It is made at start, for this user alone, and removed at the end; one that a
    /// program left behind is replaced.
    pub path: PathBuf,
}

impl Vsock {
    /// A socket device with this identifier and unix socket.
    pub fn new(cid: u32, path: impl Into<PathBuf>) -> Self {
        Self { cid, path: path.into() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.cid < FIRST_CID || self.cid == ANY_CID {
            return Err(invalid(
                format!("{} is not a guest's vsock identifier", self.cid),
                "use a CID from 3 to 4294967294",
            ));
        }
        let length = self.path.as_os_str().len();
        if length == 0 || length > MAX_PATH {
            return Err(invalid(
                format!("a vsock path of {length} bytes cannot be a socket's"),
                &format!("use a path of 1 to {MAX_PATH} bytes"),
            ));
        }
        Ok(())
    }
}
