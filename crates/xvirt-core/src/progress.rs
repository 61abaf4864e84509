//! Observes long operations, and cancels calls.
//!
//! Operations that may take long, such as [`Repository::clone_vm`](crate::repository::Repository::clone_vm), take an
//! observer. `&()` observes nothing; an `AtomicBool` cancels the operation once it is true.
//!
//! # Interrupting calls that wait
//!
//! All calls of this crate block. Most calls that wait, for the guest or for another thread, have no observer. Instead,
//! [`interruptible`] makes every call on the current thread end early, with or without an observer: the call fails with
//! [`Cancelled`](crate::ErrorKind::Cancelled), and leaves what it would leave at its timeout. A program in which Ctrl-C
//! should end a call checks for the signal there; one with tasks checks whether the task was cancelled.
//!
//! ```no_run
//! # fn example(vm: &xvirt_core::vm::Vm, cancel: std::sync::Arc<std::sync::atomic::AtomicBool>) {
//! use std::sync::atomic::Ordering;
//! use std::time::Duration;
//!
//! use xvirt_core::ErrorKind;
//! use xvirt_core::progress::interruptible;
//!
//! // Another thread sets `cancel`.
//! let ended = interruptible(move || cancel.load(Ordering::Relaxed), || vm.clean_shutdown(Duration::from_secs(600)));
//! if ended.is_err_and(|error| error.kind() == ErrorKind::Cancelled) {
//!     println!("its guest may still shut down later");
//! }
//! # }
//! ```
//!
//! The check is asked every 20 ms, and a call ends within 100 ms of its first `true`. These take longer:
//!
//! - A migration first makes sure that its guest runs at exactly one host. Between the commit and its answer it cannot
//!   be cancelled.
//! - A verb that has begun to change the VM completes the change: stopping vCPUs, draining and flushing disks, tearing
//!   the machine down.
//! - Calls of the operating system that wait for storage, and the program's own readers, writers and connections. These
//!   can ask [`interrupted`] themselves.
//!
//! What has to be cleaned up in the guest after a cancelled call of its agent is cleaned up on a thread.
//!
//! The trait and these functions are defined in `xvirt_xva`, so they work with both crates.

pub use xvirt_xva::{Done, Progress, interrupted, interruptible, interruption_due, uninterruptible};

use crate::{Error, ErrorKind, Result};

/// Reports progress, and fails if the operation was cancelled; `work` names it, such as "the import".
pub(crate) fn step(progress: &dyn Progress, bytes: u64, total: Option<u64>, work: &str) -> Result<()> {
    if progress.cancelled() || interrupted() {
        return Err(Error::new(ErrorKind::Cancelled, format!("{work} was cancelled")));
    }
    progress.report(Done::new(bytes, total));
    Ok(())
}
