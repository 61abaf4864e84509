//! Observes long operations and cancels them.
//!
//! Operations that may take long, such as [`Repository::clone_vm`](crate::repository::Repository::clone_vm), take an
//! observer. `&()` observes nothing; an `AtomicBool` cancels the operation once it is true.
//!
//! The trait is defined in `xvirt_xva`, so one observer works with both crates.

pub use xvirt_xva::{Done, Progress};

use crate::{Error, ErrorKind, Result};

/// Reports progress, and fails if the operation was cancelled; `work` names it, such as "the import".
pub(crate) fn step(progress: &dyn Progress, bytes: u64, total: Option<u64>, work: &str) -> Result<()> {
    if progress.cancelled() {
        return Err(Error::new(ErrorKind::Cancelled, format!("{work} was cancelled")));
    }
    progress.report(Done::new(bytes, total));
    Ok(())
}
