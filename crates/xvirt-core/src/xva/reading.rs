//! Looking at archives: what the crate for archives does, with the error of this one.

use std::io::Read;

use xvirt_xva::{Inspected, ReadOptions, Report};

use crate::Result;
use crate::progress::Progress;

/// Tells what an archive is. Reads its metadata and the first chunk, a few MiB at most.
///
/// # Errors
/// It is no archive, or its beginning is damaged, or it cannot be read; or the work was cancelled;
/// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if its window is larger than `options` allow.
pub fn inspect(input: impl Read + Send, options: &ReadOptions, progress: &dyn Progress) -> Result<Inspected> {
    Ok(xvirt_xva::inspect(input, options, progress)?)
}

/// Reads an archive and checks everything there is to check: compression, tar headers, `ova.xml`, places and checksums of
/// all chunks. Needs one pass, and no more memory than [any other reading](super#memory).
///
/// # Errors
/// It is no archive, or cannot be read, or the work was cancelled; [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if
/// its window is larger than `options` allow. What is wrong with the archive is in the report.
pub fn verify(input: impl Read + Send, options: &ReadOptions, progress: &dyn Progress) -> Result<Report> {
    Ok(xvirt_xva::verify(input, options, progress)?)
}
