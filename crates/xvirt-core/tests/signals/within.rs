//! Calls that may never end.

use std::sync::mpsc;
use std::thread;

use crate::support::PATIENCE;

/// What `work` gives, which is not waited for longer than for a guest: it may be a wait that never ends.
pub fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(PATIENCE).unwrap()
}
