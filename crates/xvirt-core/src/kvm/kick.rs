//! Making a vCPU that runs guest code return to us.
//!
//! `KVM_RUN` returns at a signal. The signal's handler does nothing; that it is pending is the message. A kick between
//! the vCPU's last look at its orders and `KVM_RUN` is not lost, because `immediate_exit` is set first.
//!
//! Signals belong to the whole process, so the program that embeds us can interfere: by a handler of its own, or by
//! blocking the signal on a vCPU's thread. Both are looked for, because a vCPU could not be stopped otherwise and nobody
//! would know why.

use std::fs;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The one that machines made from now on use.
static CLAIMED: Mutex<Option<KickSignal>> = Mutex::new(None);

extern "C" fn ignore(_: libc::c_int) {}

/// The signal that interrupts the vCPUs of a machine: the first real-time signal that the process had no handler for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KickSignal(libc::c_int);

/// Who handles a signal.
#[derive(Debug, PartialEq, Eq)]
enum Handler {
    Ours,
    /// Nobody: it has its default effect, or is ignored.
    Nobody,
    Program,
}

impl KickSignal {
    /// Claims the signal for a new machine: the one of the machine before, unless the program has a handler for it now.
    pub(crate) fn claim() -> Result<Self> {
        let mut claimed = lock(&CLAIMED);
        if let Some(signal) = claimed.filter(|signal| signal.check().is_ok()) {
            return Ok(signal);
        }
        let mut free = (libc::SIGRTMIN() + 1..=libc::SIGRTMAX()).map(Self).filter(|signal| {
            // A signal that is ignored is so because the program wants it to be.
            signal.action().is_ok_and(|action| action == libc::SIG_DFL)
        });
        let signal = free.next().ok_or_else(|| {
            Error::new(ErrorKind::Busy, "no signal is left to interrupt vCPUs with")
                .with_remedy("leave one real-time signal without a handler")
        })?;
        signal.install()?;
        *claimed = Some(signal);
        Ok(signal)
    }

    /// Makes sure that the signal interrupts vCPUs and does nothing else.
    ///
    /// # Errors
    /// The program has set a handler of its own for it.
    pub(crate) fn check(self) -> Result<()> {
        match self.handler()? {
            Handler::Ours => Ok(()),
            // The default effect would end the process, and an ignored signal interrupts nothing.
            Handler::Nobody => self.install(),
            Handler::Program => Err(Error::new(
                ErrorKind::Busy,
                format!("the program has set its own handler for signal {}, which interrupts vCPUs", self.0),
            )
            .with_remedy("shut the VM down with hard_shutdown and start it again, which takes another signal; or set handlers of real-time signals before the first VM starts")),
        }
    }

    /// Lets the signal reach the calling thread.
    pub(crate) fn unblock(self) {
        // SAFETY: all zeroes is a valid set of signals, which the calls below fill.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is a variable of ours, and the signal a valid one; the mask of the calling thread changes.
        unsafe {
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, self.0);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        }
    }

    /// Makes sure that the signal reaches the thread that the kernel calls `thread`.
    ///
    /// # Errors
    /// It is blocked there.
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
        // SAFETY: only asks for the current action, into a struct of ours.
        let result = unsafe { libc::sigaction(self.0, std::ptr::null(), &raw mut current) };
        if result == 0 { Ok(current.sa_sigaction) } else { Err(cannot_install()) }
    }

    fn install(self) -> Result<()> {
        // SAFETY: all zeroes is a valid sigaction: no flags and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler is async-signal-safe, for it does nothing.
        let result = unsafe { libc::sigaction(self.0, &raw const action, std::ptr::null_mut()) };
        if result == 0 { Ok(()) } else { Err(cannot_install()) }
    }
}

fn cannot_install() -> Error {
    Error::io("cannot install the signal that interrupts vCPUs", io::Error::last_os_error())
}

/// Makes one vCPU's thread leave the guest, from any thread.
#[derive(Debug)]
pub(crate) struct Kicker {
    signal: KickSignal,
    thread: libc::pthread_t,
    immediate_exit: AtomicPtr<u8>,
}

impl Kicker {
    /// A kicker for the thread that runs a vCPU. `immediate_exit` is the field of that name in the vCPU's run page.
    pub(super) fn new(signal: KickSignal, thread: libc::pthread_t, immediate_exit: *mut u8) -> Self {
        Self { signal, thread, immediate_exit: AtomicPtr::new(immediate_exit) }
    }

    /// Makes the vCPU return from `KVM_RUN`, now or at its next call. The caller sees to it that the vCPU exists and
    /// that its thread has not been joined.
    pub(crate) fn kick(&self) {
        let flag = self.immediate_exit.load(Ordering::Acquire);
        // SAFETY: the run page is mapped as long as the vCPU exists, which the caller sees to; the
        // field is one byte that the kernel only reads.
        unsafe { AtomicU8::from_ptr(flag) }.store(1, Ordering::SeqCst);
        // SAFETY: the thread has not been joined, which the caller sees to.
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
        // As threads of ours start.
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
