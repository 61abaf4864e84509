//! Starts threads, and locks shared data.
//!
//! All signals are blocked on these threads, so that signal handlers of the program never run on them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Signals for faults of the thread itself. If they were blocked, the kernel would kill the process without calling a
/// handler.
const FAULTS: [Signal; 7] =
    [Signal::SIGABRT, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGSYS, Signal::SIGTRAP];

/// Starts a thread of `scope`, which propagates its panic.
pub(crate) fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    /// Restores the signal mask of the calling thread.
    struct Restore(Option<SigSet>);

    impl Drop for Restore {
        fn drop(&mut self) {
            // Fails only for an invalid operation.
            let _ = self.0.map(|mask| mask.thread_set_mask());
        }
    }

    // A new thread inherits the mask of its creator.
    let mut blocked = SigSet::all();
    FAULTS.into_iter().for_each(|signal| blocked.remove(signal));
    let _restore = Restore(blocked.thread_swap_mask(SigmaskHow::SIG_SETMASK).ok());
    scope.spawn(work)
}

/// Locks `mutex`, even if a thread panicked while holding it: the shared data is valid between any two assignments.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_blocks_all_signals_but_faults_and_its_starter_those_from_before() {
        let mut before = SigSet::empty();
        before.add(Signal::SIGUSR1);
        before.thread_swap_mask(SigmaskHow::SIG_SETMASK).unwrap();
        let mask = std::thread::scope(|scope| spawn_scoped(scope, SigSet::thread_get_mask).join().unwrap()).unwrap();
        for signal in Signal::iterator() {
            let never = FAULTS.contains(&signal) || matches!(signal, Signal::SIGKILL | Signal::SIGSTOP);
            assert_eq!(mask.contains(signal), !never, "{signal}");
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
