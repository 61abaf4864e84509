//! How archives are read and written.

use crate::chunk::Checksum;
use crate::codec::Compression;
use crate::{Error, ErrorKind, Result};

/// How an archive is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The largest window of a zstd stream, in bytes: see [`max_window`](Self::max_window).
    pub max_window: u64,
}

impl Default for ReadOptions {
    /// A window of at most 128 MiB.
    fn default() -> Self {
        Self { max_window: 128 << 20 }
    }
}

impl ReadOptions {
    /// Sets how many bytes of memory the window of a zstd stream may take: at most 128 MiB by default, as for the program
    /// `zstd`, and 2 GiB at the highest. Larger sizes mean as much as that.
    ///
    /// The window is how far back a stream may refer to (RFC 8878, section 3.1.1.1.2). The archive chooses its size, and
    /// reading takes so much memory, unless the content is smaller. At its usual levels `zstd` chooses 2 MiB to 8 MiB, and
    /// more than 128 MiB only with `--long=28` or more.
    #[must_use]
    pub fn max_window(mut self, bytes: impl Into<u64>) -> Self {
        self.max_window = bytes.into();
        self
    }
}

/// How an archive is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// How it is compressed.
    pub compression: Compression,
    /// How hard it is compressed: 1 to 9 for gzip, 1 to 19 for zstd.
    pub level: i32,
    /// How its chunks are protected.
    pub checksum: Checksum,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self::zstd()
    }
}

impl WriteOptions {
    /// Without compression: the fastest where disks and networks are.
    pub fn none() -> Self {
        Self { compression: Compression::None, level: 0, checksum: Checksum::Xxhash }
    }

    /// Compressed with gzip, for hosts that read nothing else.
    pub fn gzip() -> Self {
        Self { compression: Compression::Gzip, level: 6, checksum: Checksum::Xxhash }
    }

    /// Compressed with zstd, so that an [`Archive`](crate::Archive) can read it in any order.
    pub fn zstd() -> Self {
        Self { compression: Compression::Zstd, level: 3, checksum: Checksum::Xxhash }
    }

    /// Compressed in one of these ways.
    pub fn with(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::none(),
            Compression::Gzip => Self::gzip(),
            Compression::Zstd => Self::zstd(),
        }
    }

    /// Sets how hard the archive is compressed.
    #[must_use]
    pub fn level(mut self, level: i32) -> Self {
        self.level = level;
        self
    }

    /// Sets how chunks are protected: hosts before 8.1 need SHA-1.
    #[must_use]
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    /// Checks that the compression has the level.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it has not.
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
