//! What a machine tells its owner: that the guest wants off or reset, let go of a device, or cannot go on.

use std::fmt;
use std::io;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::sync::lock;
use crate::thread::Panicked;
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// The guest was to be reset, or kept after a crash, and its vCPUs could not be stopped, as the text says: the program
    /// has taken the signal that interrupts them.
    NotStopped(String),
    /// What it boots could not be loaded again at a reset, as the text says.
    Reset(String),
    /// A thread of the VM panicked: by a fault of this library, or of what the program has run there, such as its log
    /// subscriber. If it was `vm-supervisor`, which does what is configured for a crash, the VM is halted in any case, also
    /// from a pause.
    ThreadPanicked {
        /// The name of the thread, such as `vcpu0`.
        thread: String,
        /// What the panic said.
        message: String,
    },
}

impl fmt::Display for CrashReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TripleFault => f.write_str("a vCPU met a triple fault"),
            Self::Panic => f.write_str("the guest's kernel panicked"),
            Self::Watchdog => f.write_str("the guest did not attend to its watchdog"),
            Self::Hardware(text) => f.write_str(text),
            Self::NotStopped(text) => write!(f, "its vCPUs could not be stopped: {text}"),
            Self::Reset(text) => write!(f, "what it boots could not be loaded again: {text}"),
            Self::ThreadPanicked { thread, message } => write!(f, "its thread {thread} panicked: {message}"),
        }
    }
}

impl From<Panicked> for CrashReason {
    fn from(Panicked { thread, message }: Panicked) -> Self {
        Self::ThreadPanicked { thread, message }
    }
}

/// The signals of one machine. However often a guest sends one, it takes no more memory: what the owner has not taken yet
/// is kept once, and of what ends the guest, the first.
///
/// They are held back while the machine is parked, so that a guest that does not run changes nothing.
#[derive(Debug)]
pub(crate) struct Signals {
    waiting: Mutex<Waiting>,
    event: EventFd,
}

#[derive(Debug)]
struct Waiting {
    held: bool,
    /// A crash kernel has taken over.
    crash_kernel: bool,
    ejected: bool,
    /// What the guest has ended with.
    end: Option<Signal>,
}

impl Signals {
    /// Those of a machine that is parked.
    pub(crate) fn new() -> Result<Self> {
        let event = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)
            .map_err(|e: io::Error| Error::io("cannot create an event for the machine", e))?;
        let waiting = Waiting { held: true, crash_kernel: false, ejected: false, end: None };
        Ok(Self { waiting: Mutex::new(waiting), event })
    }

    /// Sends a signal.
    pub(crate) fn send(&self, signal: Signal) {
        let mut waiting = lock(&self.waiting);
        match signal {
            Signal::Panicked(true) => waiting.crash_kernel = true,
            Signal::Ejected => waiting.ejected = true,
            end => drop(waiting.end.get_or_insert(end)),
        }
        self.announce(&waiting);
    }

    /// Readable when there may be something to take.
    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Takes the next signal, if any and if they are not held back.
    pub(crate) fn take(&self) -> Option<Signal> {
        let mut waiting = lock(&self.waiting);
        // That there was nothing to read is no error.
        let _ = self.event.read();
        if waiting.held {
            return None;
        }
        let taken = if std::mem::take(&mut waiting.crash_kernel) {
            Some(Signal::Panicked(true))
        } else if std::mem::take(&mut waiting.ejected) {
            Some(Signal::Ejected)
        } else {
            waiting.end.take()
        };
        self.announce(&waiting);
        taken
    }

    /// Holds back what has arrived and what will.
    pub(super) fn hold(&self) {
        lock(&self.waiting).held = true;
    }

    /// Whether they are held back: the machine is parked.
    pub(super) fn are_held(&self) -> bool {
        lock(&self.waiting).held
    }

    /// Gives out what has arrived and what will.
    pub(super) fn release(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.held = false;
        self.announce(&waiting);
    }

    /// Forgets everything that has arrived.
    pub(crate) fn clear(&self) {
        let mut waiting = lock(&self.waiting);
        (waiting.crash_kernel, waiting.ejected, waiting.end) = (false, false, None);
    }

    fn announce(&self, waiting: &Waiting) {
        if !waiting.held && (waiting.crash_kernel || waiting.ejected || waiting.end.is_some()) {
            // Fails only when the counter is full, and then the event is readable already.
            let _ = self.event.write(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(signals: &Signals) -> Vec<Signal> {
        std::iter::from_fn(|| signals.take()).collect()
    }

    fn readable(signals: &Signals) -> bool {
        let taken = signals.event().read().is_ok();
        if taken {
            signals.event().write(1).unwrap();
        }
        taken
    }

    #[test]
    fn what_is_sent_again_and_again_is_kept_once_and_the_first_end_counts() {
        let signals = Signals::new().unwrap();
        signals.release();
        for _ in 0..100_000 {
            for signal in [Signal::Ejected, Signal::PowerOff, Signal::Panicked(true), Signal::Reset] {
                signals.send(signal);
            }
        }
        assert!(readable(&signals));
        assert_eq!(all(&signals), [Signal::Panicked(true), Signal::Ejected, Signal::PowerOff]);
        assert!(!readable(&signals));
        signals.send(Signal::Crashed(CrashReason::Panic));
        signals.clear();
        assert_eq!(all(&signals), []);
    }

    #[test]
    fn a_parked_machine_holds_its_signals_back() {
        let signals = Signals::new().unwrap();
        signals.send(Signal::Reset);
        assert!(!readable(&signals));
        assert_eq!(signals.take(), None);
        signals.release();
        assert!(readable(&signals));
        signals.hold();
        // The owner was on its way.
        assert_eq!(signals.take(), None);
        assert!(!readable(&signals));
        signals.release();
        assert!(readable(&signals));
        assert_eq!(all(&signals), [Signal::Reset]);
    }
}
