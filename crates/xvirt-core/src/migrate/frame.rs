//! The frames that carry messages: a header with kind, length and checksum, then the body.
//!
//! All numbers are little-endian. Each direction of each connection begins with the preamble, which every version can
//! read.

use super::message::Kind;
use crate::{Error, ErrorKind, Result};

/// What each direction of a connection begins with.
pub(super) const MAGIC: [u8; 8] = *b"XVMIGRAT";
/// The version of the protocol. Peers of another major version are refused; minor versions differ in features.
pub(super) const VERSION: (u16, u16) = (1, 1);
/// The length of the preamble: magic, major and minor version.
pub(super) const PREAMBLE: usize = 12;
/// The length of a frame's header: kind, three bytes of zero, length of the body, CRC-32C of the body. The frames of
/// pages have the checksum of their first page number instead: the transport protects the pages.
pub(super) const HEADER: usize = 12;
/// The length of what precedes the pages in the body of [`Kind::Pages`]: the number of the first page.
pub(super) const PAGES_PREFIX: usize = 8;

/// What to do if only one side encrypts.
pub(super) const ONE_USES_TLS: &str = "use TLS on both sides of the migration, or on neither";

/// A decoded header whose length is within the limit of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) length: usize,
    checksum: u32,
}

/// The preamble of this version.
pub(super) fn preamble() -> [u8; PREAMBLE] {
    let mut bytes = [0; PREAMBLE];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.0.to_le_bytes());
    bytes[10..].copy_from_slice(&VERSION.1.to_le_bytes());
    bytes
}

/// Checks the preamble of the peer.
pub(super) fn check_preamble(bytes: &[u8; PREAMBLE]) -> Result<()> {
    if bytes[..8] != MAGIC {
        let other = || broken("the peer does not speak the migration protocol of xvirt");
        return Err(speaks_tls(bytes).unwrap_or_else(other));
    }
    let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let (major, minor) = (number(8), number(10));
    if major != VERSION.0 {
        let ours = format!("{}.{}", VERSION.0, VERSION.1);
        let what =
            format!("the peer speaks version {major}.{minor} of the migration protocol; this xvirt speaks {ours}");
        return Err(Error::new(ErrorKind::MigrationRefused, what)
            .with_remedy("use versions of xvirt with the same major version of the protocol on both sides"));
    }
    Ok(())
}

/// The error for a peer that speaks TLS, by the first bytes that it sends: the header of a TLS record with a handshake or
/// an alert (RFC 8446, section 5.1).
pub(super) fn speaks_tls(bytes: &[u8]) -> Option<Error> {
    let [21 | 22, 3, 0..=4, ..] = bytes else { return None };
    let error = Error::new(ErrorKind::PeerFailed, "the peer speaks TLS, and this side of the migration does not");
    Some(error.with_remedy(ONE_USES_TLS))
}

/// The header of a frame whose body is `body`.
fn header(kind: Kind, body: &[u8]) -> [u8; HEADER] {
    header_of(kind, body.len(), checksum(kind, body))
}

fn header_of(kind: Kind, length: usize, checksum: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0] = kind as u8;
    // The limits of all kinds fit.
    bytes[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    bytes[8..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What precedes `bytes` bytes of pages, from page `first` on, in their frame.
pub(super) fn before_pages(first: u64, bytes: usize) -> [u8; HEADER + PAGES_PREFIX] {
    let (mut all, prefix) = ([0; HEADER + PAGES_PREFIX], first.to_le_bytes());
    all[..HEADER].copy_from_slice(&header_of(Kind::Pages, PAGES_PREFIX + bytes, checksum(Kind::Pages, &prefix)));
    all[HEADER..].copy_from_slice(&prefix);
    all
}

/// A whole frame.
pub(super) fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(header(kind, body));
    bytes.extend(body);
    bytes
}

impl Header {
    /// Decodes a header of the peer.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let Some(kind) = Kind::from_number(bytes[0]) else {
            return Err(broken(format!("the peer sent a message of the unknown kind {}", bytes[0])));
        };
        let length = number(4) as usize;
        if bytes[1..4] != [0; 3] {
            return Err(broken(format!("the peer sent a '{kind}' with an invalid header")));
        }
        if length > kind.limit() {
            let limit = kind.limit();
            return Err(broken(format!("the peer sent a '{kind}' of {length} bytes, and {limit} is the limit")));
        }
        Ok(Self { kind, length, checksum: number(8) })
    }

    /// Checks the body against the checksum.
    pub(super) fn check(&self, body: &[u8]) -> Result<()> {
        if checksum(self.kind, body) != self.checksum {
            return Err(broken(format!("the peer sent a '{}' with a wrong checksum", self.kind)));
        }
        Ok(())
    }
}

fn checksum(kind: Kind, body: &[u8]) -> u32 {
    let covered = if kind == Kind::Pages { PAGES_PREFIX.min(body.len()) } else { body.len() };
    crc32c::crc32c(&body[..covered])
}

/// The peer broke the protocol.
pub(super) fn broken(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::PeerFailed, what)
        .with_remedy("check that the address is that of a migration, and that the network does not damage data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_of_another_major_version_is_refused_by_name() {
        let mut bytes = preamble();
        assert!(check_preamble(&bytes).is_ok());
        bytes[10] = 77;
        assert!(check_preamble(&bytes).is_ok(), "a minor version");
        bytes[8] = 9;
        let error = check_preamble(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MigrationRefused);
        assert!(error.message().contains("speaks version 9.77 "), "{error}");
        bytes[0] = b'H';
        assert_eq!(check_preamble(&bytes).unwrap_err().kind(), ErrorKind::PeerFailed);
    }

    #[test]
    fn every_damaged_byte_of_a_control_message_is_noticed() {
        for kind in Kind::ALL {
            let sent = frame(kind, b"12345678");
            for bit in 0..sent.len() * 8 {
                let mut bytes = sent.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let header: [u8; HEADER] = bytes[..HEADER].try_into().unwrap();
                let noticed = match Header::decode(&header) {
                    Err(_) => true,
                    // A changed kind is noticed where it arrives: each phase takes few kinds.
                    Ok(header) => header.length != 8 || header.kind != kind || header.check(&bytes[HEADER..]).is_err(),
                };
                assert!(noticed, "{kind}: bit {bit}");
            }
        }
    }

    #[test]
    fn lengths_are_limited_before_anything_is_allocated() {
        for kind in Kind::ALL {
            let mut bytes = header(kind, &[]);
            bytes[4..8].copy_from_slice(&(kind.limit() as u32 + 1).to_le_bytes());
            assert_eq!(Header::decode(&bytes).unwrap_err().kind(), ErrorKind::PeerFailed, "{kind}");
        }
    }
}
