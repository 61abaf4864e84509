//! Named ports: a byte stream between one program in the guest and the host, beside the console (virtio 1.2, section 5.3).
//!
//! The virtio console carries the ports. Its device is on the guest's side of a port, a [`PortBackend`]; [`PortStream`] is
//! the host's side. A program in the guest opens the port, as `/dev/virtio-ports/NAME` on Linux. The host waits for that
//! ([`PortStream::wait_open`]) and gets a [`PortConnection`], which lasts until the program closes the port or the guest
//! ends. Nothing that was sent before one connection ended ever reaches the next one.
//!
//! Unlike a console, a port loses nothing: at most 64 KiB wait in either direction, and then the sender waits.

mod backend;
mod shared;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use backend::PortBackend;
pub(crate) use stream::{PortConnection, PortStream};

/// The port of the QEMU guest agent, by the name under which its program looks for it.
pub(crate) const GUEST_AGENT: &str = "org.qemu.guest_agent.0";
