//! Lets a caller end its own blocking calls.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often a check is asked while a call waits or works.
const INTERVAL: Duration = Duration::from_millis(20);

thread_local! {
    /// The checks that the calls of this thread ask.
    static CHECKS: RefCell<Option<Rc<Checks>>> = const { RefCell::new(None) };
}

/// A check, and those of the calls around it.
struct Checks {
    check: Box<dyn Fn() -> bool>,
    outer: Option<Rc<Checks>>,
    /// When it was asked last.
    asked: Cell<Option<Instant>>,
    /// Whether it has answered `true`.
    over: Cell<bool>,
}

/// Calls `work`, whose blocking calls of this crate end early once `check` returns `true`.
///
/// Calls on this thread then fail with an error of the kind `Cancelled` and leave what they would leave at their
/// timeout, or after [`Progress::cancelled`](crate::Progress::cancelled). All of them ask the same check: those that
/// wait, before they wait and about every 20 ms from then on, and long operations about as often. Once it has returned
/// `true`, it is not asked again, and all further calls in `work` that would have to wait are cancelled.
///
/// `check` is called on this thread while no lock of this crate is held, so it may call this crate itself; calls inside
/// it are not interruptible. If this is called inside of `work`, the calls there ask both checks. Other threads are not
/// affected.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// use xvirt_xva::{interrupted, interruptible};
///
/// let cancel = Arc::new(AtomicBool::new(false));
/// let asked = Arc::clone(&cancel);
/// interruptible(move || asked.load(Ordering::Relaxed), || {
///     assert!(!interrupted());
///     // ... calls that block, while another thread may do this:
///     cancel.store(true, Ordering::Relaxed);
/// });
/// ```
pub fn interruptible<T>(check: impl Fn() -> bool + 'static, work: impl FnOnce() -> T) -> T {
    let outer = current();
    let checks = Checks { check: Box::new(check), outer, asked: Cell::new(None), over: Cell::new(false) };
    with(Some(Rc::new(checks)), work)
}

/// Calls `work`, whose calls are not interruptible: for cleaning up after an interrupted call.
pub fn uninterruptible<T>(work: impl FnOnce() -> T) -> T {
    with(None, work)
}

/// Whether the calls of this thread are to end: asks the check of [`interruptible`] if it was not asked in the last
/// 20 ms. For observers, readers, writers and connections of the program that wait themselves.
pub fn interrupted() -> bool {
    let Some(checks) = current() else { return false };
    // Not while the program's code runs in the check.
    with(None, || checks.ask())
}

/// When [`interrupted`] should be called next: at once if this is zero, or never if the calls of this thread are not
/// interruptible.
pub fn interruption_due() -> Option<Duration> {
    current().map(|checks| checks.due())
}

/// The checks of this thread. A thread that is ending has none.
fn current() -> Option<Rc<Checks>> {
    CHECKS.try_with(|checks| checks.borrow().clone()).ok().flatten()
}

/// Calls `work` with other checks.
fn with<T>(checks: Option<Rc<Checks>>, work: impl FnOnce() -> T) -> T {
    /// Restores the checks from before, also if `work` panics.
    struct Restore(Option<Rc<Checks>>);

    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = CHECKS.try_with(|checks| checks.replace(self.0.take()));
        }
    }

    let _restore = Restore(CHECKS.try_with(|current| current.replace(checks)).ok().flatten());
    work()
}

impl Checks {
    fn ask(&self) -> bool {
        if !self.over.get() && self.due().is_zero() {
            let over = (self.check)() || self.outer.as_ref().is_some_and(|outer| outer.ask());
            self.over.set(over);
            self.asked.set(Some(Instant::now()));
        }
        self.over.get()
    }

    fn due(&self) -> Duration {
        match self.asked.get() {
            Some(asked) if !self.over.get() => INTERVAL.saturating_sub(asked.elapsed()),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_call_is_interruptible_inside_only_and_on_its_thread_only() {
        assert!(!interrupted());
        interruptible(
            || true,
            || {
                assert!(interrupted());
                assert!(!std::thread::spawn(interrupted).join().unwrap());
                uninterruptible(|| assert_eq!((interrupted(), interruption_due()), (false, None)));
                assert!(interrupted());
            },
        );
        assert_eq!((interrupted(), interruption_due()), (false, None));
    }

    #[test]
    fn a_check_is_asked_at_once_then_at_intervals_and_not_again_after_its_yes() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let third = move || count.fetch_add(1, Ordering::Relaxed) == 2;
        interruptible(third, || {
            let begin = Instant::now();
            while !interrupted() {
                std::thread::sleep(interruption_due().unwrap().min(INTERVAL / 4));
            }
            assert!(begin.elapsed() >= 2 * INTERVAL, "{:?}", begin.elapsed());
            assert!(interrupted() && interruption_due() == Some(Duration::ZERO));
        });
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn inner_calls_ask_the_outer_check_too_and_leave_it_in_force() {
        let (outer, inner) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        let of = |flag: &Arc<AtomicBool>| {
            let flag = Arc::clone(flag);
            move || flag.load(Ordering::Relaxed)
        };
        interruptible(of(&outer), || {
            assert!(!interrupted());
            assert!(interruptible(of(&inner), interrupted));
            let panicked = catch_unwind(AssertUnwindSafe(|| interruptible(of(&inner), || panic!("in the call"))));
            assert!(panicked.is_err() && !interrupted());
            inner.store(false, Ordering::Relaxed);
            assert!(!interruptible(of(&inner), interrupted));
            outer.store(true, Ordering::Relaxed);
            std::thread::sleep(INTERVAL);
            assert!(interruptible(of(&inner), interrupted));
            assert!(interrupted());
        });
    }

    #[test]
    fn a_check_may_make_calls_itself() {
        let inside = || {
            assert!(interruption_due().is_none());
            interrupted()
        };
        assert!(!interruptible(inside, interrupted));
    }
}
