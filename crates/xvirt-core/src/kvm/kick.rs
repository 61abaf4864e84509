//! Kicks a vCPU out of guest code.
//!
//! A signal makes `KVM_RUN` return; its handler does nothing. A kick between the vCPU's last check of its orders and
//! `KVM_RUN` is not lost, because `immediate_exit` is set first.
//!
//! Signals belong to the process, so the embedding program can interfere, by a handler of its own or by blocking the
//! signal on a vCPU thread. Both are checked, because otherwise a vCPU could not be stopped and the reason would be
//! unknown.

use std::fs;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The signal for new machines.
static CLAIMED: Mutex<Option<KickSignal>> = Mutex::new(None);

extern "C" fn ignore(_: libc::c_int) {}

/// The signal that interrupts the vCPUs of a machine: the first real-time signal without a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KickSignal(libc::c_int);

/// The handler of a signal.
#[derive(Debug, PartialEq, Eq)]
enum Handler {
    Ours,
    /// None: the signal has its default effect, or is ignored.
    Nobody,
    Program,
}

impl KickSignal {
    /// Claims the signal for a new machine: that of the previous one, unless the program now has a handler for it.
    pub(crate) fn claim() -> Result<Self> {
        let mut claimed = lock(&CLAIMED);
        if let Some(signal) = claimed.filter(|signal| signal.check().is_ok()) {
            return Ok(signal);
        }
        let mut free = (libc::SIGRTMIN() + 1..=libc::SIGRTMAX()).map(Self).filter(|signal| {
            // An ignored signal is a deliberate setting of the program.
            signal.action().is_ok_and(|action| action == libc::SIG_DFL)
        });
        let signal = free.next().ok_or_else(|| {
            Error::new(ErrorKind::Busy, "no real-time signal is free to interrupt vCPUs")
                .with_remedy("leave one real-time signal without a handler")
        })?;
        signal.install()?;
        *claimed = Some(signal);
        Ok(signal)
    }

    /// Makes sure that the signal interrupts vCPUs and has no other effect.
    ///
    /// # Errors
    /// The program has set its own handler for it.
    pub(crate) fn check(self) -> Result<()> {
        match self.handler()? {
            Handler::Ours => Ok(()),
            // The default effect would kill the process, and an ignored signal does not interrupt.
            Handler::Nobody => self.install(),
            Handler::Program => Err(Error::new(
                ErrorKind::Busy,
                format!("the program has set its own handler for signal {}, which interrupts vCPUs", self.0),
            )
            .with_remedy("shut the VM down with hard_shutdown and start it again, which takes another signal; or set handlers of real-time signals before the first VM starts")),
        }
    }

    /// Unblocks the signal on the calling thread.
    pub(crate) fn unblock(self) {
        // SAFETY: all zeroes is a valid signal set, which the calls below fill.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is a local variable, and the signal is valid; only the mask of the calling thread changes.
        unsafe {
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, self.0);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        }
    }

    /// Checks that the signal reaches a thread, given by its id.
    ///
    /// # Errors
    /// The thread blocks the signal.
    pub(crate) fn check_reaches(self, thread: u32) -> Result<()> {
        let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap_or_default();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let blocked = blocked.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        if blocked >> (self.0 - 1) & 1 == 0 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Busy,
            format!("signal {}, which interrupts vCPUs, is blocked on the thread {thread} of a vCPU", self.0),
        )
        .with_remedy("do not change the signal mask in what runs on xvirt's threads, such as a log subscriber"))
    }

    fn handler(self) -> Result<Handler> {
        Ok(match self.action()? {
            libc::SIG_DFL | libc::SIG_IGN => Handler::Nobody,
            action if action == ignore as extern "C" fn(libc::c_int) as libc::sighandler_t => Handler::Ours,
            _ => Handler::Program,
        })
    }

    fn action(self) -> Result<libc::sighandler_t> {
        // SAFETY: all zeroes is a valid sigaction.
        let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: only reads the current action, into a local struct.
        let result = unsafe { libc::sigaction(self.0, std::ptr::null(), &raw mut current) };
        if result == 0 { Ok(current.sa_sigaction) } else { Err(cannot_install()) }
    }

    fn install(self) -> Result<()> {
        // SAFETY: all zeroes is a valid sigaction: no flags and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler does nothing, so it is async-signal-safe.
        let result = unsafe { libc::sigaction(self.0, &raw const action, std::ptr::null_mut()) };
        if result == 0 { Ok(()) } else { Err(cannot_install()) }
    }
}

fn cannot_install() -> Error {
    Error::io("cannot install the signal that interrupts vCPUs", io::Error::last_os_error())
}

/// Kicks one vCPU out of the guest, from any thread.
#[derive(Debug)]
pub(crate) struct Kicker {
    signal: KickSignal,
    thread: libc::pthread_t,
    immediate_exit: AtomicPtr<u8>,
}

impl Kicker {
    /// A kicker for the thread that runs a vCPU. `immediate_exit` is that field of the vCPU's run page.
    pub(super) fn new(signal: KickSignal, thread: libc::pthread_t, immediate_exit: *mut u8) -> Self {
        Self { signal, thread, immediate_exit: AtomicPtr::new(immediate_exit) }
    }

    /// Makes the vCPU return from `KVM_RUN`, now or at its next call. The caller must ensure that the vCPU exists and
    /// that its thread has not been joined.
    pub(crate) fn kick(&self) {
        let flag = self.immediate_exit.load(Ordering::Acquire);
        // SAFETY: the caller ensures that the vCPU exists, and so does its run page; the field is one byte that the
        // kernel only reads.
        unsafe { AtomicU8::from_ptr(flag) }.store(1, Ordering::SeqCst);
        // SAFETY: the caller ensures that the thread has not been joined.
        unsafe { libc::pthread_kill(self.thread, self.signal.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_blocks_the_signal_is_found() {
        let signal = KickSignal::claim().unwrap();
        let (to_thread, orders) = mpsc::channel();
        let (to_test, answers) = mpsc::channel();
        let life = move || {
            to_test.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()).unwrap();
            orders.recv().unwrap();
            signal.unblock();
            to_test.send(0).unwrap();
            orders.recv().unwrap_err();
        };
        // Like xvirt's own threads.
        let thread = crate::thread::with_signals_blocked(|| std::thread::spawn(life));
        let number = answers.recv().unwrap();
        let error = signal.check_reaches(number).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.to_string().contains(&format!("thread {number}")), "{error}");
        to_thread.send(()).unwrap();
        answers.recv().unwrap();
        signal.check_reaches(number).unwrap();
        drop(to_thread);
        thread.join().unwrap();
    }
}
