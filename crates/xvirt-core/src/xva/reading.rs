//! Reads archives with `xvirt_xva` and converts its errors.

use std::io::Read;

use xvirt_xva::{Inspected, ReadOptions, Report};

use crate::Result;
use crate::progress::Progress;

/// Describes an archive. Reads its metadata and the first chunk, at most a few MiB.
///
/// # Errors
/// It is not an archive, or its start is damaged, or it cannot be read; the operation was cancelled;
/// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if its window exceeds the limit in `options`.
pub fn inspect(input: impl Read + Send, options: &ReadOptions, progress: &dyn Progress) -> Result<Inspected> {
    Ok(xvirt_xva::inspect(input, options, progress)?)
}

/// Reads an archive and checks everything: compression, tar headers, `ova.xml`, and the positions and checksums of all
/// chunks. Takes one pass, and no more memory than [any other way to read it](super#memory).
///
/// # Errors
/// It is not an archive, or cannot be read; the operation was cancelled;
/// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if its window exceeds the limit in `options`. The report contains
/// the defects of the archive.
pub fn verify(input: impl Read + Send, options: &ReadOptions, progress: &dyn Progress) -> Result<Report> {
    Ok(xvirt_xva::verify(input, options, progress)?)
}
