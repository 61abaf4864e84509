//! Calls that may hang.

use std::sync::mpsc;
use std::thread;

use crate::support::PATIENCE;

/// The result of `work`, unless it takes longer than a guest would: it may hang.
pub fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(PATIENCE).unwrap()
}
