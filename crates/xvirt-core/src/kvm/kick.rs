//! Making a vCPU that runs guest code return to us.
//!
//! `KVM_RUN` returns at a signal. The signal's handler does nothing; that it is pending is the message. A kick between
//! the vCPU's last look at its orders and `KVM_RUN` is not lost, because `immediate_exit` is set first.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use crate::{Error, Result};

static KICK_SIGNAL: OnceLock<std::result::Result<libc::c_int, i32>> = OnceLock::new();

extern "C" fn ignore(_: libc::c_int) {}

/// Claims the signal for kicks: the first real-time signal that the process has no handler for. Done once.
pub(crate) fn install_kick_handler() -> Result<()> {
    kick_signal().map(|_| ())
}

fn kick_signal() -> Result<libc::c_int> {
    KICK_SIGNAL.get_or_init(claim_signal).map_err(|errno| {
        Error::io("cannot install the signal that interrupts vCPUs", std::io::Error::from_raw_os_error(errno))
            .remedy("leave one real-time signal without a handler")
    })
}

fn claim_signal() -> std::result::Result<libc::c_int, i32> {
    for signal in libc::SIGRTMIN() + 1..=libc::SIGRTMAX() {
        // SAFETY: all zeroes is a valid sigaction.
        let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: only asks for the current action, into a struct of ours.
        if unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut current) } != 0 {
            continue;
        }
        if current.sa_sigaction != libc::SIG_DFL {
            continue;
        }
        // SAFETY: all zeroes is a valid sigaction: no flags (system calls are to be interrupted) and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler is async-signal-safe, for it does nothing.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } == 0 {
            return Ok(signal);
        }
    }
    Err(libc::EBUSY)
}

/// Makes one vCPU's thread leave the guest, from any thread.
#[derive(Debug)]
pub(crate) struct Kicker {
    thread: libc::pthread_t,
    immediate_exit: AtomicPtr<u8>,
}

impl Kicker {
    /// A kicker for the thread that runs a vCPU. `immediate_exit` is the field of that name in the vCPU's run page.
    pub(super) fn new(thread: libc::pthread_t, immediate_exit: *mut u8) -> Self {
        Self { thread, immediate_exit: AtomicPtr::new(immediate_exit) }
    }

    /// Makes the vCPU return from `KVM_RUN`, now or at its next call. The caller sees to it that the vCPU exists
    /// and that its thread has not been joined.
    pub(crate) fn kick(&self) {
        let flag = self.immediate_exit.load(Ordering::Acquire);
        // SAFETY: the run page is mapped as long as the vCPU exists, which the caller sees to; the
        // field is one byte that the kernel only reads.
        unsafe { AtomicU8::from_ptr(flag) }.store(1, Ordering::SeqCst);
        if let Ok(signal) = kick_signal() {
            // SAFETY: the thread has not been joined, which the caller sees to.
            unsafe { libc::pthread_kill(self.thread, signal) };
        }
    }
}
