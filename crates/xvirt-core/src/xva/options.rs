//! How archives are read.

use crate::config::ByteSize;

/// How an archive is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The largest window of a zstd stream, in bytes: see [`max_window`](Self::max_window).
    pub max_window: ByteSize,
}

impl Default for ReadOptions {
    /// A window of at most 128 MiB.
    fn default() -> Self {
        Self { max_window: ByteSize::mib(128) }
    }
}

impl ReadOptions {
    /// Sets how much memory the window of a zstd stream may take: at most 128 MiB by default, as for the program `zstd`,
    /// and 2 GiB at the highest, beyond which larger sizes mean nothing.
    ///
    /// The window is how far back a stream may refer to (RFC 8878, section 3.1.1.1.2). The archive chooses its size, and
    /// reading takes so much memory, unless the content is smaller. At its usual levels `zstd` chooses 2 MiB to 8 MiB, and
    /// more than 128 MiB only with `--long=28` or more.
    #[must_use]
    pub fn max_window(mut self, size: ByteSize) -> Self {
        self.max_window = size;
        self
    }
}
