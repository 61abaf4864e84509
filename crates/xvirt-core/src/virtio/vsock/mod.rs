//! The socket device (virtio 1.2, section 5.10): stream connections between guest and host, without a network.
//!
//! The host's side are unix sockets, in the form that Firecracker established and Cloud Hypervisor shares:
//!
//! - A host program connects to the device's socket, writes `CONNECT <guest port>\n`, and reads `OK <host port>\n`; then
//!   both sides talk. Where nobody listens in the guest, it is disconnected instead.
//! - A guest's connection to CID 2, port P goes to the socket that a host program listens on at the device's path
//!   followed by `_P`. Where nobody listens, it is refused.
//!
//! `device` is what the driver sees. `handler` moves packets between its queues and the `table` of connections; one
//! `connection` has the rules of the protocol and its flow control, `host` opens unix sockets, `packet` is the header.
//!
//! What a guest can make the host keep is bounded: so many connections, so many bytes for each that a host program does
//! not read, so many answers that the driver makes no room for. A slow program holds up its own connection only.

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
