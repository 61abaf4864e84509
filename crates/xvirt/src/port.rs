//! A port of this host on the command line.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A port, on one address of this host or on all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    address: Option<IpAddr>,
    port: u16,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self { address: None, port });
        }
        let address: SocketAddr =
            text.parse().map_err(|_| "give PORT or ADDRESS:PORT, such as 443, 10.0.0.1:443 or [fd00::1]:443")?;
        Ok(Self { address: Some(address.ip()), port: address.port() })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => SocketAddr::new(address, self.port).fmt(f),
            None => self.port.fmt(f),
        }
    }
}

impl Port {
    /// The address, if it is one.
    pub fn address(self) -> Option<IpAddr> {
        self.address
    }

    /// Listens on the port, by `listen`.
    pub fn open(
        self,
        mut listen: impl FnMut(SocketAddr) -> xvirt_pool::Result<SocketAddr>,
    ) -> xvirt_pool::Result<SocketAddr> {
        if let Some(address) = self.address {
            return listen(SocketAddr::new(address, self.port));
        }
        // All addresses of both versions of IP; without version 6, those of version 4.
        let both = listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), self.port));
        both.or_else(|error| listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.port)).map_err(|_| error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        for text in ["443", "10.0.0.1:80", "[fd00::1]:443", "0"] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
        for text in ["", "x", "70000", "host:80", "fd00::1:443:x", ":80"] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_on_all_addresses_is_one_of_version_4_where_there_is_no_other() {
        let port: Port = "443".parse().unwrap();
        let only_4 = |address: SocketAddr| match address {
            SocketAddr::V4(_) => Ok(address),
            SocketAddr::V6(_) => Err(xvirt_pool::Error::new(xvirt_pool::ErrorKind::Io, "no IPv6")),
        };
        assert_eq!(port.open(only_4).unwrap().to_string(), "0.0.0.0:443");
        assert_eq!(port.open(Ok).unwrap().to_string(), "[::]:443");
    }
}
