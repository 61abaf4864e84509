//! The socket device (virtio 1.2, section 5.10): stream connections between guest and host, without a network.
//!
//! On the host side there are unix sockets, with the protocol of Firecracker and Cloud Hypervisor:
//!
//! - A host program connects to the device's socket, writes `CONNECT <guest port>\n`, and reads `OK <host port>\n`;
//!   then data flows in both directions. If nothing listens in the guest, the device closes the socket instead.
//! - A guest's connection to CID 2, port P goes to the program that listens at the device's path followed by `_P`. If
//!   none listens, the connection is refused.
//!
//! `device` is the driver-visible side. `handler` moves packets between its queues and the `table` of connections.
//! `connection` implements the protocol and flow control of one connection, `host` opens unix sockets, and `packet` is
//! the header.
//!
//! Host memory per guest is bounded: by the number of connections, of bytes buffered for each host program that does
//! not read, and of answers for which the driver has no room. A slow program blocks only its own connection.

mod connection;
mod device;
mod handler;
mod host;
mod outbox;
mod packet;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use device::Vsock;
pub(crate) use host::port_path;
