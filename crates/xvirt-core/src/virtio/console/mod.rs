//! The virtio console (virtio 1.2, section 5.3), and on the same device the port of the guest agent.
//!
//! `device` implements the configuration that the driver sees, `handler` serves the queues, and `control` has the
//! messages by which the device and a driver with VIRTIO_CONSOLE_F_MULTIPORT set up the ports. Other drivers see a
//! plain console.
//!
//! The console accepts all output immediately, because it must not stop the guest. Data sent through the port waits for
//! its reader.

mod control;
mod device;
mod handler;
#[cfg(test)]
mod tests;

pub(crate) use device::Console;
