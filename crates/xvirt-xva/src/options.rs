//! Options for reading and writing archives.

use serde::{Deserialize, Serialize};

use crate::chunk::Checksum;
use crate::codec::Compression;
use crate::{Error, ErrorKind, Result};

/// Options for reading an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The window limit of a zstd stream in bytes, which is how much memory reading it may take: 128 MiB by default, at
    /// most 2 GiB.
    pub max_window: u64,
}

impl Default for ReadOptions {
    /// A window limit of 128 MiB.
    fn default() -> Self {
        Self { max_window: 128 << 20 }
    }
}

impl ReadOptions {
    /// Sets the limit for the window of a zstd stream in bytes: 128 MiB by default, as in the program `zstd`, and at
    /// most 2 GiB. Larger values count as 2 GiB.
    ///
    /// The window is the distance to which a stream may refer back (RFC 8878, section 3.1.1.1.2). The archive
    /// determines its size, and reading takes that much memory, unless the contents are smaller. At its usual levels
    /// `zstd` uses 2 MiB to 8 MiB, and more than 128 MiB only with `--long=28` or more.
    #[must_use]
    pub fn max_window(mut self, bytes: impl Into<u64>) -> Self {
        self.max_window = bytes.into();
        self
    }
}

/// Options for writing an archive.
///
/// Deserialized, each has a default: zstd, the compression's level, and the checksum of current hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Given")]
#[non_exhaustive]
pub struct WriteOptions {
    /// The compression; zstd by default.
    pub compression: Compression,
    /// The compression level: 1 to 9 for gzip, 1 to 19 for zstd. Each has a level of its own by default.
    pub level: i32,
    /// The checksum of chunks; by default that of current hosts.
    pub checksum: Checksum,
}

/// The options that are given.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    compression: Compression,
    level: Option<i32>,
    checksum: Checksum,
}

impl From<Given> for WriteOptions {
    fn from(given: Given) -> Self {
        let options = Self::with(given.compression).checksum(given.checksum);
        given.level.map_or(options, |level| options.level(level))
    }
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self::zstd()
    }
}

impl WriteOptions {
    /// No compression, which is fastest if disks and networks are fast.
    pub fn none() -> Self {
        Self { compression: Compression::None, level: 0, checksum: Checksum::Xxhash }
    }

    /// gzip, for hosts that support nothing else.
    pub fn gzip() -> Self {
        Self { compression: Compression::Gzip, level: 6, checksum: Checksum::Xxhash }
    }

    /// zstd, in frames that give an [`Archive`](crate::Archive) random access.
    pub fn zstd() -> Self {
        Self { compression: Compression::Zstd, level: 3, checksum: Checksum::Xxhash }
    }

    /// The given compression, at its default level.
    pub fn with(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::none(),
            Compression::Gzip => Self::gzip(),
            Compression::Zstd => Self::zstd(),
        }
    }

    /// Sets the compression level.
    #[must_use]
    pub fn level(mut self, level: i32) -> Self {
        self.level = level;
        self
    }

    /// Sets the checksum of chunks: hosts before 8.1 need SHA-1.
    #[must_use]
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    /// Checks the compression level.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the compression does not have this level.
    pub fn check(&self) -> Result<()> {
        let most = match self.compression {
            Compression::None => return Ok(()),
            Compression::Gzip => 9,
            Compression::Zstd => 19,
        };
        if (1..=most).contains(&self.level) {
            return Ok(());
        }
        let what = format!("{} has no level {}", self.compression, self.level);
        Err(Error::new(ErrorKind::InvalidInput, what).with_remedy(format!("choose one between 1 and {most}")))
    }
}
