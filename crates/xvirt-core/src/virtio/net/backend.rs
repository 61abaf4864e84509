//! The contract between a network card and what its cable is plugged into.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use vm_memory::VolatileSlice;

use crate::Result;
use crate::net::{Offloads, Tap};

/// Where a network card's frames go to and come from.
///
/// A frame is preceded by a `struct virtio_net_hdr_v1` of [`VNET_HEADER_LEN`](crate::net::VNET_HEADER_LEN) bytes. No
/// call blocks.
pub(crate) trait NetBackend: Send + Sync + fmt::Debug {
    /// Becomes readable when a frame waits.
    fn input(&self) -> RawFd;

    /// Takes one frame and returns its length with the header; `WouldBlock` when there is none.
    fn receive(&self, frame: &mut [u8]) -> io::Result<usize>;

    /// Sends one frame that lies in guest memory.
    fn send(&self, frame: &[VolatileSlice<'_>]) -> io::Result<()>;

    /// Says what received frames need not have done to them.
    fn set_offloads(&self, offloads: Offloads) -> Result<()>;
}

impl NetBackend for Tap {
    fn input(&self) -> RawFd {
        self.as_raw_fd()
    }

    fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        self.read(frame)
    }

    fn send(&self, frame: &[VolatileSlice<'_>]) -> io::Result<()> {
        self.write_vectored(frame).map(|_| ())
    }

    fn set_offloads(&self, offloads: Offloads) -> Result<()> {
        Tap::set_offloads(self, offloads)
    }
}
