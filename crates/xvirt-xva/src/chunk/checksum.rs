//! Chunk checksums.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use xxhash_rust::xxh64::Xxh64;

/// The checksum algorithm of chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Checksum {
    /// XXH64, supported by XenServer and XCP-ng since 8.1.
    #[default]
    Xxhash,
    /// SHA-1, supported by all versions.
    Sha1,
}

impl Checksum {
    /// The extension of its members' names.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Xxhash => ".xxhash",
            Self::Sha1 => ".checksum",
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xxhash => "xxhash",
            Self::Sha1 => "sha1",
        })
    }
}

/// A checksum that is being computed.
pub(crate) enum Sum {
    Xxhash(Xxh64),
    Sha1(Sha1),
}

impl Sum {
    pub(crate) fn new(kind: Checksum) -> Self {
        match kind {
            Checksum::Xxhash => Self::Xxhash(Xxh64::new(0)),
            Checksum::Sha1 => Self::Sha1(Sha1::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Xxhash(sum) => sum.update(bytes),
            Self::Sha1(sum) => sum.update(bytes),
        }
    }

    /// Formats XXH64 in upper case and SHA-1 in lower case.
    pub(crate) fn finish(self) -> String {
        match self {
            Self::Xxhash(sum) => format!("{:016X}", sum.digest()),
            Self::Sha1(sum) => sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_xenserver() {
        let of = |kind, bytes: &[u8]| {
            let mut sum = Sum::new(kind);
            sum.update(bytes);
            sum.finish()
        };
        let zeroes = vec![0; 1 << 20];
        assert_eq!(of(Checksum::Xxhash, &zeroes), "87D2A1B6E1163EF1");
        assert_eq!(of(Checksum::Xxhash, &[]), "EF46DB3751D8E999");
        assert_eq!(of(Checksum::Sha1, &zeroes), "3b71f43ff30f4b15b5cd85dd9e95ebc7e84eb5a3");
        assert_eq!(of(Checksum::Sha1, &[]), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
