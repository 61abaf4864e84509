//! Observes long operations and cancels them.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::interrupt::interrupted;
use crate::{Error, ErrorKind, Result};

/// The progress of a long operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Done {
    /// The number of processed bytes.
    pub bytes: u64,
    /// The total number of bytes, if known.
    pub total: Option<u64>,
}

impl Done {
    /// `bytes` out of `total`.
    pub fn new(bytes: u64, total: Option<u64>) -> Self {
        Self { bytes, total }
    }

    /// The part that is done, from 0 to 1, where the total is known. Nothing to do is all done.
    ///
    /// ```
    /// use xvirt_xva::Done;
    ///
    /// assert_eq!(Done::new(1 << 20, Some(4 << 20)).fraction(), Some(0.25));
    /// assert_eq!(Done::new(1 << 20, None).fraction(), None);
    /// ```
    pub fn fraction(&self) -> Option<f64> {
        match self.total? {
            0 => Some(1.0),
            total => Some((self.bytes as f64 / total as f64).min(1.0)),
        }
    }
}

/// Observes a long operation and may cancel it. Several threads may call it.
///
/// `()` observes nothing and never cancels; an [`AtomicBool`] cancels once it is true.
pub trait Progress: Sync {
    /// Reports progress. This is called often, and the operation waits for it.
    fn report(&self, done: Done);

    /// Whether to cancel the operation; it then fails with an error of the kind `Cancelled` and leaves nothing behind.
    fn cancelled(&self) -> bool;
}

impl Progress for () {
    fn report(&self, _: Done) {}

    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for AtomicBool {
    fn report(&self, _: Done) {}

    fn cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

/// Whether the observer has cancelled the operation, or its caller has [interrupted](crate::interruptible) it.
pub(crate) fn is_cancelled(progress: &dyn Progress) -> bool {
    progress.cancelled() || interrupted()
}

/// Reports progress, and fails if the operation was cancelled; `work` names it, such as "the import".
pub(crate) fn step(progress: &dyn Progress, bytes: u64, total: Option<u64>, work: &str) -> Result<()> {
    if is_cancelled(progress) {
        return Err(Error::new(ErrorKind::Cancelled, format!("{work} was cancelled")));
    }
    progress.report(Done { bytes, total });
    Ok(())
}
