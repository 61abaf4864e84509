//! What a machine tells its owner: that the guest wants off or reset, let go of a device, or cannot go on.

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::{Error, Result};

/// Something the owner of a machine has to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The guest switched itself off.
    PowerOff,
    /// The guest wants to be reset.
    Reset,
    /// The guest let go of devices; the machine knows which.
    Ejected,
    /// A vCPU cannot go on.
    Crashed(CrashReason),
    /// The guest's kernel panicked; whether a crash kernel takes over.
    Panicked(bool),
}

/// Why a guest cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashReason {
    /// A triple fault: an exception while an exception while an exception was handled.
    TripleFault,
    /// The guest's kernel says that it panicked.
    Panic,
    /// The guest did not attend to its watchdog in time.
    Watchdog,
    /// KVM or the CPU gave up, as the text says.
    Hardware(String),
    /// What it boots could not be loaded again at a reset, as the text says.
    Reset(String),
}

/// The sending half, held by devices and vCPUs.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    sender: Sender<Signal>,
    event: Arc<EventFd>,
}

impl Signals {
    /// Sends a signal; one that nobody listens to any more is dropped.
    pub(crate) fn send(&self, signal: Signal) {
        if self.sender.send(signal).is_ok() {
            // Fails only when the counter is full, and then the event is readable already.
            let _ = self.event.write(1);
        }
    }
}

/// The receiving half, held by the owner.
#[derive(Debug)]
pub(crate) struct SignalReceiver {
    receiver: Receiver<Signal>,
    event: Arc<EventFd>,
}

impl SignalReceiver {
    /// Readable when a signal has arrived.
    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Takes the next signal, if any.
    pub(crate) fn next(&self) -> Option<Signal> {
        // That there was nothing to read is no error.
        let _ = self.event.read();
        let signal = self.receiver.try_recv().ok();
        if !self.receiver.is_empty() {
            let _ = self.event.write(1);
        }
        signal
    }

    /// Forgets everything that has arrived.
    pub(crate) fn clear(&self) {
        while self.next().is_some() {}
    }
}

/// Makes both halves.
pub(crate) fn signals() -> Result<(Signals, SignalReceiver)> {
    let event = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)
        .map_err(|e: io::Error| Error::io("cannot create an event for the machine", e))?;
    let event = Arc::new(event);
    let (sender, receiver) = unbounded();
    Ok((Signals { sender, event: Arc::clone(&event) }, SignalReceiver { receiver, event }))
}
