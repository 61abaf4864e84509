//! Rate limits of disks and network interfaces.

use serde::{Deserialize, Serialize};

use super::{ByteSize, invalid};
use crate::Result;

/// A limit on operations and bytes; absent values are unlimited.
///
/// An operation is a request to a disk, or a frame of a network interface. The bytes of a disk request are its data and
/// the few bytes of its header or status; those of a frame start with the Ethernet header. A burst may pass at once
/// after an idle time, and counts towards the rate. An operation larger than the burst passes as a whole, and later
/// ones wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RateLimit {
    /// Operations per second, at least one.
    pub operations_per_second: Option<u64>,
    /// The burst in operations, at least one; the default is a tenth of a second's worth.
    pub operations_burst: Option<u64>,
    /// Bytes per second, at least one.
    pub bytes_per_second: Option<ByteSize>,
    /// The burst in bytes, at least one; the default is a tenth of a second's worth.
    pub bytes_burst: Option<ByteSize>,
}

/// The limits of a network interface, from the guest's view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NicLimit {
    /// The limit on received traffic.
    pub receive: RateLimit,
    /// The limit on sent traffic.
    pub transmit: RateLimit,
}

impl RateLimit {
    /// No limit.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets the operations per second.
    #[must_use]
    pub fn operations_per_second(mut self, count: u64) -> Self {
        self.operations_per_second = Some(count);
        self
    }

    /// Sets the burst in operations.
    #[must_use]
    pub fn operations_burst(mut self, count: u64) -> Self {
        self.operations_burst = Some(count);
        self
    }

    /// Sets the bytes per second.
    #[must_use]
    pub fn bytes_per_second(mut self, size: ByteSize) -> Self {
        self.bytes_per_second = Some(size);
        self
    }

    /// Sets the burst in bytes.
    #[must_use]
    pub fn bytes_burst(mut self, size: ByteSize) -> Self {
        self.bytes_burst = Some(size);
        self
    }

    /// Checks the limit; `whom` is its subject in messages.
    pub(crate) fn check(&self, whom: &str) -> Result<()> {
        let bytes = |size: Option<ByteSize>| size.map(ByteSize::bytes);
        check_part("operations", self.operations_per_second, self.operations_burst, whom)?;
        check_part("bytes", bytes(self.bytes_per_second), bytes(self.bytes_burst), whom)
    }
}

impl NicLimit {
    /// No limit in either direction.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets the limit on received traffic.
    #[must_use]
    pub fn receive(mut self, limit: RateLimit) -> Self {
        self.receive = limit;
        self
    }

    /// Sets the limit on sent traffic.
    #[must_use]
    pub fn transmit(mut self, limit: RateLimit) -> Self {
        self.transmit = limit;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.receive.check("what a NIC receives")?;
        self.transmit.check("what a NIC transmits")
    }
}

fn check_part(unit: &str, rate: Option<u64>, burst: Option<u64>, whom: &str) -> Result<()> {
    match (rate, burst) {
        (Some(0), _) => Err(invalid(
            format!("a limit of 0 {unit} per second would stop {whom} for ever"),
            "give at least 1, or leave the limit out",
        )),
        (Some(_), Some(0)) => {
            Err(invalid(format!("{whom} cannot have a burst of 0 {unit}"), "give at least 1, or leave the burst out"))
        }
        (None, Some(_)) => Err(invalid(
            format!("{whom} has a burst of {unit}, but no rate"),
            &format!("give {unit}_per_second too, or leave the burst out"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_make_no_sense_are_named() {
        let refused = |limit: RateLimit| limit.check("disk d").unwrap_err().to_string();
        assert_eq!(
            refused(RateLimit::none().operations_per_second(0)),
            "a limit of 0 operations per second would stop disk d for ever; give at least 1, or leave the limit out"
        );
        assert_eq!(
            refused(RateLimit::none().bytes_per_second(ByteSize::mib(1)).bytes_burst(ByteSize::new(0))),
            "disk d cannot have a burst of 0 bytes; give at least 1, or leave the burst out"
        );
        assert_eq!(
            refused(RateLimit::none().bytes_burst(ByteSize::mib(1))),
            "disk d has a burst of bytes, but no rate; give bytes_per_second too, or leave the burst out"
        );
        let backwards = NicLimit::none().transmit(RateLimit::none().operations_per_second(0));
        let error = backwards.check().unwrap_err().to_string();
        assert!(error.contains("would stop what a NIC transmits for ever"), "{error}");
    }

    #[test]
    fn a_limit_is_written_as_people_write_sizes() {
        let limit: RateLimit = serde_json::from_str(r#"{"bytes_per_second":"10MiB","operations_burst":5}"#).unwrap();
        assert_eq!(limit, RateLimit::none().bytes_per_second(ByteSize::mib(10)).operations_burst(5));
    }
}
