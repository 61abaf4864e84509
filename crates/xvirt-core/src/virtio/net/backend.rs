//! The contract between a network card and what its cable is plugged into.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use crate::Result;
use crate::memory::GuestSlice;
use crate::net::{FrameStream, Offloads, Tap, VNET_HEADER_LEN};
use crate::sandbox::Work;

/// Where a network card's frames go to and come from.
///
/// A frame is preceded by a `struct virtio_net_hdr_v1` of [`VNET_HEADER_LEN`](crate::net::VNET_HEADER_LEN) bytes. No
/// call blocks.
pub(crate) trait NetBackend: Send + Sync + fmt::Debug {
    /// Becomes readable when a frame waits; `None` while there is no connection.
    fn input(&self) -> Option<RawFd>;

    /// Takes one frame and returns its length with the header; `WouldBlock` when there is none.
    fn receive(&self, frame: &mut [u8]) -> io::Result<usize>;

    /// Sends one frame that lies in guest memory; `WouldBlock` when it was not taken and may be later.
    fn send(&self, frame: &[GuestSlice<'_>]) -> io::Result<()>;

    /// What it asks the kernel for, on the device's thread.
    fn work(&self) -> Work {
        Work::Network
    }

    /// Whether it takes frames that are not finished: without checksums, and larger than the MTU.
    fn takes_unfinished(&self) -> bool {
        true
    }

    /// Says what received frames need not have done to them.
    fn set_offloads(&self, offloads: Offloads) -> Result<()>;

    /// Goes on with what it took and has not sent; `WouldBlock` when that is not all.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// Connects again after any call said `NotConnected`; `false` when that is not possible now.
    fn reconnect(&self) -> bool {
        false
    }
}

impl NetBackend for Tap {
    fn input(&self) -> Option<RawFd> {
        Some(self.as_raw_fd())
    }

    fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        self.read(frame)
    }

    fn send(&self, frame: &[GuestSlice<'_>]) -> io::Result<()> {
        match self.write_vectored(frame) {
            // The host has more of them than it can use: one is lost, as on any cable.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other.map(|_| ()),
        }
    }

    fn set_offloads(&self, offloads: Offloads) -> Result<()> {
        Tap::set_offloads(self, offloads)
    }
}

impl NetBackend for FrameStream {
    fn input(&self) -> Option<RawFd> {
        self.descriptor()
    }

    fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        let (header, frame) = frame.split_at_mut(VNET_HEADER_LEN);
        // Nothing is left for the driver to do.
        header.fill(0);
        FrameStream::receive(self, frame).map(|length| VNET_HEADER_LEN + length)
    }

    fn send(&self, frame: &[GuestSlice<'_>]) -> io::Result<()> {
        FrameStream::send(self, |bytes| {
            let mut header = VNET_HEADER_LEN;
            for slice in frame {
                let skipped = header.min(slice.len());
                header -= skipped;
                let start = bytes.len();
                bytes.resize(start + slice.len() - skipped, 0);
                if let Some(rest) = slice.part(skipped, slice.len() - skipped) {
                    rest.copy_to(&mut bytes[start..]);
                }
            }
        })
    }

    fn work(&self) -> Work {
        // It connects again.
        Work::Sockets
    }

    fn takes_unfinished(&self) -> bool {
        false
    }

    fn set_offloads(&self, _: Offloads) -> Result<()> {
        // None was offered.
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        FrameStream::flush(self)
    }

    fn reconnect(&self) -> bool {
        FrameStream::reconnect(self)
    }
}
