//! An IP address with its network prefix length.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::invalid;
use crate::{Error, Result};

/// The address of a network interface with its prefix length, written `192.0.2.10/24` or `2001:db8::10/64` (RFC 4632,
/// section 3.1, and RFC 4291, section 2.3). The serialized form is a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceAddress {
    ip: IpAddr,
    prefix: u8,
}

impl InterfaceAddress {
    /// The address `ip` in the network of its first `prefix` bits.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) if an interface cannot have the address, or `prefix` is
    /// longer than the address.
    pub fn new(ip: IpAddr, prefix: u8) -> Result<Self> {
        let address = Self { ip, prefix };
        if ip.is_unspecified() || ip.is_multicast() || prefix == 0 || u32::from(prefix) > address.bits() {
            return Err(not_an_address(&address.to_string()));
        }
        Ok(address)
    }

    /// The address without its prefix.
    pub fn ip(self) -> IpAddr {
        self.ip
    }

    /// The prefix length.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether `other` is in the same network.
    pub fn reaches(self, other: IpAddr) -> bool {
        // Never as large as the width, because a prefix has at least one bit.
        let shift = self.bits().saturating_sub(self.prefix.into());
        match (self.ip, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => a.to_bits() >> shift == b.to_bits() >> shift,
            (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() >> shift == b.to_bits() >> shift,
            _ => false,
        }
    }

    /// Whether its network is this address alone.
    pub(super) fn is_host(self) -> bool {
        u32::from(self.prefix) == self.bits()
    }

    fn bits(self) -> u32 {
        if self.ip.is_ipv4() { 32 } else { 128 }
    }
}

fn not_an_address(text: &str) -> Error {
    invalid(
        format!("{text:?} is not an interface address"),
        "write an address and its prefix length, for example 192.0.2.10/24",
    )
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl FromStr for InterfaceAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(ip, prefix)| Some((ip.parse().ok()?, prefix.parse().ok()?)));
        let (ip, prefix) = parsed.ok_or_else(|| not_an_address(text))?;
        Self::new(ip, prefix)
    }
}

impl TryFrom<String> for InterfaceAddress {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<InterfaceAddress> for String {
    fn from(address: InterfaceAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_address_are_the_same() {
        for text in ["192.0.2.10/24", "2001:db8::10/64", "10.0.0.1/32"] {
            let address: InterfaceAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let json = serde_json::to_string(&address).unwrap();
            assert_eq!(serde_json::from_str::<InterfaceAddress>(&json).unwrap(), address);
        }
    }

    #[test]
    fn other_text_is_refused_with_a_hint() {
        for text in
            ["", "192.0.2.10", "192.0.2.10/33", "192.0.2.10/0", "2001:db8::/129", "224.0.0.1/4", "0.0.0.0/8", "a/24"]
        {
            let error = text.parse::<InterfaceAddress>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "{text:?} is not an interface address; write an address and its prefix length, \
                     for example 192.0.2.10/24"
                )
            );
        }
    }

    #[test]
    fn a_network_reaches_its_own_addresses() {
        let reaches =
            |address: &str, other: &str| address.parse::<InterfaceAddress>().unwrap().reaches(other.parse().unwrap());
        assert!(reaches("192.0.2.10/24", "192.0.2.254"));
        assert!(!reaches("192.0.2.10/24", "192.0.3.1"));
        assert!(reaches("10.0.0.1/1", "100.0.0.1"));
        assert!(!reaches("10.0.0.1/32", "10.0.0.2"));
        assert!(reaches("2001:db8::10/64", "2001:db8::1"));
        assert!(!reaches("2001:db8::10/64", "2001:db8:0:1::1"));
        assert!(!reaches("2001:db8::10/64", "192.0.2.1"));
    }
}
