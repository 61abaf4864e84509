//! Waits of a caller: they end at a deadline, and when the caller [interrupts](crate::progress::interruptible) its call.
//!
//! Every public function that waits does it here, so that all of them can be interrupted. Without a deadline and an
//! interruption, a wait is just that of the operating system.

use std::fmt::Display;
use std::io;
use std::os::fd::AsFd;
use std::sync::{MutexGuard, PoisonError, TryLockError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use xvirt_xva::{interrupted, interruption_due};

use crate::sync::{self, Condvar, Mutex};
use crate::{Error, ErrorKind};

/// How often an interruptible call tries to take a lock that another thread holds.
const TRY_AGAIN: Duration = Duration::from_millis(2);

/// After which time an interruptible call looks first whether a thread has ended; the next times double.
const FIRST_LOOK: Duration = Duration::from_micros(50);

/// A wait, in as many steps as it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    deadline: Option<Instant>,
}

/// Why a wait ended before what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// At its deadline.
    TooLate,
    /// By its caller.
    Cancelled,
}

type Step<'a, T> = (MutexGuard<'a, T>, Result<(), Ended>);

impl Ended {
    /// The error of a wait for `what`; `too_late` gives that for a wait which took too long.
    pub(crate) fn error(self, what: impl Display, too_late: impl FnOnce() -> Error) -> Error {
        match self {
            Self::TooLate => too_late(),
            Self::Cancelled => cancelled(what),
        }
    }
}

/// The error of a wait for `what` that its caller has cancelled.
pub(crate) fn cancelled(what: impl Display) -> Error {
    Error::new(ErrorKind::Cancelled, format!("the wait for {what} was cancelled"))
}

impl Wait {
    /// A wait until `deadline`; without one, as long as it takes.
    pub(crate) fn until(deadline: Option<Instant>) -> Self {
        Self { deadline }
    }

    /// A wait of at most `timeout` from now.
    pub(crate) fn at_most(timeout: Duration) -> Self {
        Self::until(Instant::now().checked_add(timeout))
    }

    /// The same wait, but of at most `limit` from now.
    pub(crate) fn within(&self, limit: Duration) -> Self {
        Self::at_most(self.left().map_or(limit, |left| left.min(limit)))
    }

    /// How much time is left; `None` if there is no limit.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether no time is left.
    pub(crate) fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Fails if it is to end, without waiting. The caller must not hold a lock.
    pub(crate) fn check(&self) -> Result<(), Ended> {
        self.step().map(drop)
    }

    /// How long one step may take; `None` if there is no limit. Calls the program's check if that is due.
    fn step(&self) -> Result<Option<Duration>, Ended> {
        if self.is_over() {
            return Err(Ended::TooLate);
        }
        if interrupted() {
            return Err(Ended::Cancelled);
        }
        Ok(shorter(self.left(), interruption_due()))
    }

    /// Waits for `changed`. It may return earlier, so the caller has to look at the state again. `guard`, which is of
    /// `mutex`, is released meanwhile.
    pub(crate) fn changed<'a, T>(
        &self,
        changed: &Condvar,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
    ) -> Step<'a, T> {
        if self.is_over() {
            return (guard, Err(Ended::TooLate));
        }
        let due = interruption_due();
        if due.is_some_and(|due| due.is_zero()) {
            // The program's check may take long, and may use what the lock protects.
            drop(guard);
            let over = if interrupted() { Err(Ended::Cancelled) } else { Ok(()) };
            // The change may have happened meanwhile, so this does not wait for it.
            return (sync::lock(mutex), over);
        }
        let guard = match shorter(self.left(), due) {
            None => sync::wait(changed, guard),
            Some(limit) => changed.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner).0,
        };
        (guard, Ok(()))
    }

    /// Waits for `changed` until `done` is true of the state.
    pub(crate) fn until_done<'a, T>(
        &self,
        changed: &Condvar,
        mutex: &'a Mutex<T>,
        mut guard: MutexGuard<'a, T>,
        done: impl Fn(&T) -> bool,
    ) -> Step<'a, T> {
        while !done(&guard) {
            let (next, step) = self.changed(changed, mutex, guard);
            if step.is_err() {
                return (next, step);
            }
            guard = next;
        }
        (guard, Ok(()))
    }

    /// Waits until the descriptor has one of `events`, or is closed by its peer; `false` at the deadline. `what` says
    /// for errors what this waits for.
    ///
    /// # Errors
    /// One with an [`Error`] of the kind `Cancelled` in it, or that of poll(2).
    pub(crate) fn ready(&self, descriptor: impl AsFd, events: PollFlags, what: impl Display) -> io::Result<bool> {
        loop {
            let limit = match self.step() {
                Ok(limit) => limit,
                Err(Ended::TooLate) => Some(Duration::ZERO),
                Err(Ended::Cancelled) => return Err(io::Error::other(cancelled(what))),
            };
            let limit = limit.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&descriptor, events)], limit.as_ref()) {
                Ok(0) if self.is_over() => return Ok(false),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for `pause`.
    pub(crate) fn pause(&self, pause: Duration) -> Result<(), Ended> {
        let rest = self.within(pause);
        loop {
            match rest.step() {
                Ok(limit) => thread::sleep(limit.unwrap_or(pause)),
                Err(Ended::TooLate) if self.is_over() => return Err(Ended::TooLate),
                Err(Ended::TooLate) => return Ok(()),
                Err(Ended::Cancelled) => return Err(Ended::Cancelled),
            }
        }
    }
}

/// Locks `mutex`, which another thread may hold for long; `None` if the caller has cancelled that.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    if interruption_due().is_none() {
        return Some(sync::lock(mutex));
    }
    until_some(|| match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    })
}

/// Repeats `attempt` until it returns something; `None` if the caller has cancelled that.
pub(crate) fn until_some<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        if let Some(taken) = attempt() {
            return Some(taken);
        }
        Wait::until(None).pause(TRY_AGAIN).ok()?;
    }
}

/// Waits for a thread. Calls `stop`, after which the thread should end soon, if the caller cancels the wait.
pub(crate) fn join<T>(thread: ScopedJoinHandle<'_, T>, stop: impl FnOnce()) -> thread::Result<T> {
    let mut pause = FIRST_LOOK;
    while interruption_due().is_some() && !thread.is_finished() {
        if Wait::until(None).pause(pause).is_err() {
            stop();
            break;
        }
        pause = (2 * pause).min(TRY_AGAIN);
    }
    thread.join()
}

/// The shorter of two limits, of which `None` is no limit.
fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;
