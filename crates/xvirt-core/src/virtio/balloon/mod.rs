//! The memory balloon (virtio 1.2, section 5.5), by which a guest returns unused memory to the host.
//!
//! - `device`: the driver-visible side and the owner's operations: target size and statistics.
//! - `handler`: processes inflated, deflated and reported free pages.
//! - `report`: parses the guest's memory statistics.
//!
//! The device does not record which pages are in the balloon: a released page comes back as soon as the guest touches
//! it. A driver that lies about its pages therefore harms only its own guest.

mod device;
mod handler;
mod report;
#[cfg(test)]
mod tests;

pub(crate) use device::Balloon;
pub(crate) use report::GuestReport;
