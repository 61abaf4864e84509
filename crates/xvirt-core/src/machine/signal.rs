//! Signals from a machine to its owner: the guest powered off, wants a reset, ejected a device or crashed.

use std::fmt;
use std::io;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::sync::lock;
use crate::thread::Panicked;
use crate::{Error, Result};

/// An event on which the owner of a machine must act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Signal {
    /// The guest powered itself off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest ejected devices; [`take_ejected`](super::Machine::take_ejected) names their slots.
    Ejected,
    /// A vCPU cannot go on.
    Crashed(CrashReason),
    /// The guest's kernel panicked; the flag says whether a crash kernel takes over.
    Panicked(bool),
}

/// Why a guest cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CrashReason {
    /// A triple fault: an exception during the delivery of a double fault.
    TripleFault,
    /// The guest's kernel reported a panic.
    Panic,
    /// The guest did not ping its watchdog in time.
    Watchdog,
    /// KVM or the CPU cannot continue, for the given reason.
    Hardware(String),
    /// The vCPUs could not be stopped for a reset or after a crash, for the given reason: the program blocks or handles
    /// the signal that interrupts them.
    NotStopped(String),
    /// The kernel could not be loaded again for a reset, for the given reason.
    Reset(String),
    /// The guest's memory, which was to be loaded while the guest runs, could not be loaded, for the given reason.
    MemoryNotLoaded(String),
    /// A thread of the VM panicked, by a fault of this library or of code that the program runs on its threads, such as
    /// a log subscriber. If the thread was `vm-supervisor`, which carries out the configured crash action, the VM is
    /// halted in any case, even when paused.
    ThreadPanicked {
        /// The name of the thread, such as `vcpu0`.
        thread: String,
        /// The message of the panic.
        message: String,
    },
}

impl fmt::Display for CrashReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TripleFault => f.write_str("a vCPU triple-faulted"),
            Self::Panic => f.write_str("the guest's kernel panicked"),
            Self::Watchdog => f.write_str("the guest did not ping its watchdog in time"),
            Self::Hardware(text) | Self::MemoryNotLoaded(text) => f.write_str(text),
            Self::NotStopped(text) => write!(f, "its vCPUs could not be stopped: {text}"),
            Self::Reset(text) => write!(f, "its boot files could not be loaded again: {text}"),
            Self::ThreadPanicked { thread, message } => write!(f, "its thread {thread} panicked: {message}"),
        }
    }
}

impl From<Panicked> for CrashReason {
    fn from(Panicked { thread, message }: Panicked) -> Self {
        Self::ThreadPanicked { thread, message }
    }
}

/// The pending signals of one machine. Memory use does not grow with the number of signals: equal pending signals count
/// once, and of several that end the guest, only the first is kept.
///
/// Signals are held back while the machine is parked, so that a stopped guest causes no change.
#[derive(Debug)]
pub(crate) struct Signals {
    waiting: Mutex<Waiting>,
    event: EventFd,
}

#[derive(Debug)]
struct Waiting {
    held: bool,
    pending: PendingSignals,
}

/// The signals that the owner has not taken yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingSignals {
    /// A crash kernel has taken over.
    crash_kernel: bool,
    ejected: bool,
    /// The first signal that ends the guest.
    end: Option<Signal>,
}

impl Signals {
    /// The signals of a machine that is parked.
    pub(super) fn new() -> Result<Self> {
        let event = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)
            .map_err(|e: io::Error| Error::io("cannot create an event for the machine", e))?;
        let waiting = Waiting { held: true, pending: PendingSignals::default() };
        Ok(Self { waiting: Mutex::new(waiting), event })
    }

    /// Takes over what is pending in a saved state.
    pub(super) fn restore(&self, pending: PendingSignals) {
        lock(&self.waiting).pending = pending;
    }

    /// Sends a signal.
    pub(crate) fn send(&self, signal: Signal) {
        let mut waiting = lock(&self.waiting);
        match signal {
            Signal::Panicked(true) => waiting.pending.crash_kernel = true,
            Signal::Ejected => waiting.pending.ejected = true,
            end => drop(waiting.pending.end.get_or_insert(end)),
        }
        self.announce(&waiting);
    }

    /// Becomes readable when there may be a signal to take.
    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Takes the next signal, unless there is none or signals are held back.
    pub(crate) fn take(&self) -> Option<Signal> {
        let mut waiting = lock(&self.waiting);
        // The event may have been read already.
        let _ = self.event.read();
        if waiting.held {
            return None;
        }
        let pending = &mut waiting.pending;
        let taken = if std::mem::take(&mut pending.crash_kernel) {
            Some(Signal::Panicked(true))
        } else if std::mem::take(&mut pending.ejected) {
            Some(Signal::Ejected)
        } else {
            pending.end.take()
        };
        self.announce(&waiting);
        taken
    }

    /// Holds back pending and future signals.
    pub(super) fn hold(&self) {
        lock(&self.waiting).held = true;
    }

    /// Whether signals are held back, which means that the machine is parked.
    pub(super) fn are_held(&self) -> bool {
        lock(&self.waiting).held
    }

    /// Releases pending and future signals.
    pub(super) fn release(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.held = false;
        self.announce(&waiting);
    }

    /// Discards all pending signals.
    pub(crate) fn clear(&self) {
        self.restore(PendingSignals::default());
    }

    /// The signals that are pending.
    pub(super) fn pending(&self) -> PendingSignals {
        lock(&self.waiting).pending.clone()
    }

    fn announce(&self, waiting: &Waiting) {
        if !waiting.held && waiting.pending != PendingSignals::default() {
            // Fails only if the counter is full; then the event is readable already.
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
