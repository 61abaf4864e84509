//! The network card (virtio 1.2, section 5.1), with one pair of queues and a control queue.
//!
//! `device` is the driver-visible side, `handler` moves frames, `control` serves the control
//! queue, `port` is the state they share, and `backend` is the
//! interface to the host side. The header before each frame is passed through unchanged: checksums and segmentation are
//! up to the backend.

mod announcement;
mod backend;
mod control;
mod device;
mod handler;
mod port;
mod statistics;
#[cfg(test)]
mod tests;

pub(crate) use backend::NetBackend;
pub(crate) use device::Net;
pub(crate) use statistics::FrameCounters;

/// The largest frame including the header: 64 KiB of data for segmentation, and the Ethernet header.
const MAX_FRAME: usize = crate::net::VNET_HEADER_LEN + 65_536 + 18;
