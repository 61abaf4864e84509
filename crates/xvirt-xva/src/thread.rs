//! How this crate starts threads, and shares data between them.
//!
//! The threads block all signals, so that no signal handler of the program runs on them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Signals that tell a thread of a fault of its own. Blocked, they would kill the process without a word.
const FAULTS: [Signal; 7] =
    [Signal::SIGABRT, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGSYS, Signal::SIGTRAP];

/// Starts a thread of `scope`. Its panic is the scope's.
pub(crate) fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    /// Gives the calling thread its signals back.
    struct Restore(Option<SigSet>);

    impl Drop for Restore {
        fn drop(&mut self) {
            // Fails only for an unknown way to change the mask.
            let _ = self.0.map(|mask| mask.thread_set_mask());
        }
    }

    // A new thread inherits the mask of the one that starts it.
    let mut blocked = SigSet::all();
    FAULTS.into_iter().for_each(|signal| blocked.remove(signal));
    let _restore = Restore(blocked.thread_swap_mask(SigmaskHow::SIG_SETMASK).ok());
    scope.spawn(work)
}

/// Locks `mutex`, also when a thread panicked while holding it: what is shared here is valid between any two assignments.
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
