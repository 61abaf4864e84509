//! The interface between a network card and its host side.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use crate::Result;
use crate::memory::GuestSlice;
use crate::net::{FrameStream, Offloads, Tap, VNET_HEADER_LEN};
use crate::sandbox::Work;

/// The host side of a network card, which sends and receives frames.
///
/// Each frame follows a `struct virtio_net_hdr_v1` of [`VNET_HEADER_LEN`](crate::net::VNET_HEADER_LEN) bytes. No method
/// blocks.
pub(crate) trait NetBackend: Send + Sync + fmt::Debug {
    /// A descriptor that becomes readable when a frame waits; `None` while disconnected.
    fn input(&self) -> Option<RawFd>;

    /// Receives one frame and returns its length including the header; `WouldBlock` if there is none.
    fn receive(&self, frame: &mut [u8]) -> io::Result<usize>;

    /// Sends one frame from guest memory; `WouldBlock` if the caller should retry later.
    fn send(&self, frame: &[GuestSlice<'_>]) -> io::Result<()>;

    /// The system calls it needs on the device's thread.
    fn work(&self) -> Work {
        Work::Network
    }

    /// Whether it handles offloads: frames with partial checksums, and frames larger than the MTU.
    fn takes_unfinished(&self) -> bool {
        true
    }

    /// Sets the offloads that the guest accepts in received frames.
    fn set_offloads(&self, offloads: Offloads) -> Result<()>;

    /// Continues a partial send; `WouldBlock` if data remains.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// Reconnects after a method returned `NotConnected`; `false` if that fails for now.
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
            // The host's queue is full, so the frame is dropped, as on a congested link.
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
        // No offload work is left for the driver.
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
        // Reconnecting needs socket calls.
        Work::Sockets
    }

    fn takes_unfinished(&self) -> bool {
        false
    }

    fn set_offloads(&self, _: Offloads) -> Result<()> {
        // No offload was offered.
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        FrameStream::flush(self)
    }

    fn reconnect(&self) -> bool {
        FrameStream::reconnect(self)
    }
}
