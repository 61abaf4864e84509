//! Named ports: byte streams between a program in the guest and the host, besides the console (virtio 1.2, section
//! 5.3).
//!
//! The device `virtio-console` carries the ports. It uses the guest's side of a port, a [`PortBackend`]; [`PortStream`]
//! is the host's side. A program in the guest opens the port, on Linux as `/dev/virtio-ports/NAME`. The host waits for
//! that ([`PortStream::wait_open`]) and gets a [`PortConnection`], which lasts until the program closes the port or the
//! guest ends. Data that was sent before one connection ended never reaches the next one.
//!
//! Unlike a console, a port loses no data: at most 64 KiB wait in either direction, and then the sender waits.

mod backend;
mod shared;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use backend::PortBackend;
pub(crate) use stream::{PortConnection, PortStream};

/// The port of the QEMU guest agent, which opens it by this name.
pub(crate) const GUEST_AGENT: &str = "org.qemu.guest_agent.0";
