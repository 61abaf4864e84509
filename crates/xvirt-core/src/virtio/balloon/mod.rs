//! The memory balloon (virtio 1.2, section 5.5): a guest that can do with less memory lends some to the host.
//!
//! - `device`: what the driver sees, and what its owner asks of it: the size of the balloon, and statistics.
//! - `handler`: pages that go into the balloon, come out of it, or are just free.
//! - `report`: what the guest says of its memory.
//!
//! Nothing is kept of which pages are in the balloon: a page that was given back to the host is there again as soon as
//! the guest touches it. So a driver that lies only harms itself.

mod device;
mod handler;
mod report;
#[cfg(test)]
mod tests;

pub(crate) use device::Balloon;
pub(crate) use report::GuestReport;
