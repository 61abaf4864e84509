//! The network card (virtio 1.2, section 5.1), with one pair of queues.
//!
//! `device` is what the driver sees, `handler` moves frames, `port` is what both share, `backend` is where frames go to
//! and come from. The header
//! before each frame is handed on as it is: checksums and segmentation are the backend's business.

mod backend;
mod device;
mod handler;
mod port;
mod statistics;
#[cfg(test)]
mod tests;

pub(crate) use backend::NetBackend;
pub(crate) use device::Net;
pub(crate) use statistics::FrameCounters;

/// The largest frame, with header: 64 KiB of segments that somebody will cut up, and their Ethernet header.
const MAX_FRAME: usize = crate::net::VNET_HEADER_LEN + 65_536 + 18;
