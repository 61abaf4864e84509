//! MAC addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

/// A MAC address, written `02:00:5e:10:00:01`.
///
/// Parsing also accepts `-` instead of `:`, and capital letters. The serialized form is a string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// The address with these bytes, in transmission order.
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// A random, locally administered unicast address, as usual for virtual NICs.
    pub fn random() -> Self {
        // The first six bytes of a version 4 UUID are all random.
        let [first, b, c, d, e, f, ..] = uuid::Uuid::new_v4().into_bytes();
        Self([first & !MULTICAST | LOCAL, b, c, d, e, f])
    }

    /// The bytes, in transmission order.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether a NIC can have this address: it is not a multicast address and not all zeroes.
    pub fn is_unicast(self) -> bool {
        self.0[0] & MULTICAST == 0 && self.0 != [0; 6]
    }

    /// Whether it is locally administered rather than assigned by a manufacturer.
    pub fn is_local(self) -> bool {
        self.0[0] & LOCAL != 0
    }
}

const MULTICAST: u8 = 1;
const LOCAL: u8 = 2;

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for MacAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| {
            Error::new(ErrorKind::InvalidConfig, format!("{text:?} is not a MAC address"))
                .with_remedy("write six pairs of hexadecimal digits, as in 02:00:5e:10:00:01")
        })
    }
}

fn parse(text: &str) -> Option<MacAddress> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut pairs = text.split(separator);
    let mut octets = [0; 6];
    for octet in &mut octets {
        let pair = pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(MacAddress(octets))
}

impl TryFrom<String> for MacAddress {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_the_same_address() {
        let address: MacAddress = "02:00:5E:10:00:ff".parse().unwrap();
        assert_eq!(address.octets(), [2, 0, 0x5e, 0x10, 0, 0xff]);
        assert_eq!(address.to_string(), "02:00:5e:10:00:ff");
        assert_eq!("02-00-5e-10-00-ff".parse::<MacAddress>().unwrap(), address);
        assert_eq!(serde_json::to_string(&address).unwrap(), "\"02:00:5e:10:00:ff\"");
        assert_eq!(serde_json::from_str::<MacAddress>("\"02:00:5e:10:00:ff\"").unwrap(), address);
    }

    #[test]
    fn other_text_is_refused_with_a_hint() {
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:01:02",
            "2:0:5e:10:0:1",
            "02:00:5e:10:00:0g",
            "+2:00:5e:10:00:01",
            "02:00-5e:10:00:01",
            "02005e100001",
        ] {
            let error = text.parse::<MacAddress>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert_eq!(
                error.to_string(),
                format!(
                    "{text:?} is not a MAC address; write six pairs of hexadecimal digits, as in 02:00:5e:10:00:01"
                )
            );
        }
        let error = serde_json::from_str::<MacAddress>("\"x\"").unwrap_err();
        assert!(error.to_string().contains("is not a MAC address"), "{error}");
    }

    #[test]
    fn random_addresses_suit_a_virtual_nic() {
        let (one, two) = (MacAddress::random(), MacAddress::random());
        assert_ne!(one, two);
        assert!(one.is_unicast() && one.is_local());
        assert!(!MacAddress::new([0xff; 6]).is_unicast());
        assert!(!MacAddress::new([0; 6]).is_unicast());
        assert!(!MacAddress::new([0x00, 0x16, 0x3e, 0, 0, 1]).is_local());
    }
}
