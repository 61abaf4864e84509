//! Watching long work, and ending it early.
//!
//! The trait is that of the crate for archives, so that one observer does for both crates.

pub use xvirt_xva::{Done, Progress};

use crate::{Error, ErrorKind, Result};

/// Reports, and fails if the work was cancelled; `work` says what it is, as in "the import".
pub(crate) fn step(progress: &dyn Progress, bytes: u64, total: Option<u64>, work: &str) -> Result<()> {
    if progress.cancelled() {
        return Err(Error::new(ErrorKind::Cancelled, format!("{work} was cancelled")));
    }
    progress.report(Done::new(bytes, total));
    Ok(())
}
