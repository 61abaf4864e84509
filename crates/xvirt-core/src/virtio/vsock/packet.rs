//! The packet header (virtio 1.2, section 5.10.6).

/// Size of `struct virtio_vsock_hdr` in bytes.
pub(super) const HEADER: usize = 44;
/// The most data bytes in one packet.
pub(super) const MAX_DATA: usize = 64 << 10;
/// The context identifier of the host.
pub(super) const HOST_CID: u64 = 2;
/// The only supported socket type.
pub(super) const STREAM: u16 = 1;

/// Shutdown flag: the sender will receive no more data.
pub(super) const SHUTDOWN_RECEIVE: u32 = 1;
/// Shutdown flag: the sender will send no more data.
pub(super) const SHUTDOWN_SEND: u32 = 2;
pub(super) const SHUTDOWN_BOTH: u32 = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;

/// The operation of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Requests a connection.
    Request = 1,
    /// Accepts a connection.
    Response = 2,
    /// Refuses or aborts a connection.
    Reset = 3,
    /// Shuts down one or both directions.
    Shutdown = 4,
    /// Carries data.
    Data = 5,
    /// Tells how much room there is.
    CreditUpdate = 6,
    /// Asks how much room there is.
    CreditRequest = 7,
}

impl Op {
    fn from_number(number: u16) -> Option<Self> {
        use Op::{CreditRequest, CreditUpdate, Data, Request, Reset, Response, Shutdown};
        [Request, Response, Reset, Shutdown, Data, CreditUpdate, CreditRequest]
            .into_iter()
            .find(|op| *op as u16 == number)
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ports {
    pub(super) guest: u32,
    pub(super) host: u32,
}

/// The header of a packet that came from the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source_cid: u64,
    pub(super) destination_cid: u64,
    pub(super) source_port: u32,
    pub(super) destination_port: u32,
    /// The length of the data in bytes.
    pub(super) length: u32,
    /// Type of socket.
    pub(super) kind: u16,
    /// `None` for an unknown operation.
    pub(super) op: Option<Op>,
    pub(super) flags: u32,
    /// The size of the sender's receive buffer.
    pub(super) buffer: u32,
    /// The bytes that the sender has forwarded since the connection began; wraps.
    pub(super) forwarded: u32,
}

impl Header {
    pub(super) fn from_bytes(bytes: &[u8; HEADER]) -> Self {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        Self {
            source_cid: u64_at(0),
            destination_cid: u64_at(8),
            source_port: u32_at(16),
            destination_port: u32_at(20),
            length: u32_at(24),
            kind: u16_at(28),
            op: Op::from_number(u16_at(30)),
            flags: u32_at(32),
            buffer: u32_at(36),
            forwarded: u32_at(40),
        }
    }

    pub(super) fn ports(&self) -> Ports {
        Ports { guest: self.source_port, host: self.destination_port }
    }
}

/// A packet for the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// The source CID: the host's, or in a reset, the CID to which the guest sent.
    pub(super) source_cid: u64,
    pub(super) ports: Ports,
    pub(super) op: Op,
    pub(super) flags: u32,
    pub(super) length: u32,
    pub(super) buffer: u32,
    pub(super) forwarded: u32,
}

impl Packet {
    /// A packet without data or further fields.
    pub(super) fn bare(op: Op, ports: Ports) -> Self {
        Self { source_cid: HOST_CID, ports, op, flags: 0, length: 0, buffer: 0, forwarded: 0 }
    }

    /// The header, addressed to the guest with this CID.
    pub(super) fn to_bytes(self, guest_cid: u64) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &self.source_cid.to_le_bytes());
        put(8, &guest_cid.to_le_bytes());
        put(16, &self.ports.host.to_le_bytes());
        put(20, &self.ports.guest.to_le_bytes());
        put(24, &self.length.to_le_bytes());
        put(28, &STREAM.to_le_bytes());
        put(30, &(self.op as u16).to_le_bytes());
        put(32, &self.flags.to_le_bytes());
        put(36, &self.buffer.to_le_bytes());
        put(40, &self.forwarded.to_le_bytes());
        bytes
    }
}
