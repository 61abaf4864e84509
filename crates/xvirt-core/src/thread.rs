//! Starts threads.
//!
//! All signals are blocked on a thread of this crate, so that signal handlers of the embedding program never run on it,
//! whatever the signal mask of the calling thread. Panics are always handled: the creator of a thread says what to do.
//! A panic may be a fault of the program, because its log subscribers and backends run on these threads too.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle, current};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use tracing::Span;

/// Signals for faults of the thread itself. If they were blocked, the kernel would kill the process without calling a
/// handler.
const FAULTS: [Signal; 7] =
    [Signal::SIGABRT, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGSYS, Signal::SIGTRAP];

/// A caught panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panicked {
    /// The name of the thread.
    pub(crate) thread: String,
    /// The message of the panic.
    pub(crate) message: String,
}

/// Starts a thread that calls `work` in `span`, and then `panicked` if that panicked.
pub(crate) fn spawn(
    name: &str,
    stack: usize,
    span: Span,
    work: impl FnOnce() + Send + 'static,
    panicked: impl FnOnce(Panicked) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let life = move || {
        // The log subscriber may also panic when the span is entered or left. The work is caught inside the span,
        // because a second panic during unwinding would abort the process.
        let outcome = caught(|| span.in_scope(|| caught(work)));
        if let Err(panic) = outcome.and_then(|outcome| outcome) {
            panicked(panic);
        }
    };
    with_signals_blocked(|| Builder::new().name(name.to_owned()).stack_size(stack).spawn(life))
}

/// Calls `start` with all signals blocked, which threads that it starts inherit.
pub(crate) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    /// Restores the signal mask of the calling thread.
    struct Restore(Option<SigSet>);

    impl Drop for Restore {
        fn drop(&mut self) {
            // Fails only for an invalid operation.
            let _ = self.0.map(|mask| mask.thread_set_mask());
        }
    }

    let mut blocked = SigSet::all();
    FAULTS.into_iter().for_each(|signal| blocked.remove(signal));
    let _restore = Restore(blocked.thread_swap_mask(SigmaskHow::SIG_SETMASK).ok());
    start()
}

/// Calls `work` and catches its panic. The state that `work` leaves behind must be valid then.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panicked {
        thread: current().name().unwrap_or("unnamed").to_owned(),
        message: message_of(&*payload),
    })
}

/// The message of a panic, if it is text.
fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn run(work: impl FnOnce() + Send + 'static) -> Result<(), Panicked> {
        let (sender, receiver) = mpsc::channel();
        spawn("worker", 64 << 10, Span::none(), work, move |panic| sender.send(panic).unwrap())
            .unwrap()
            .join()
            .unwrap();
        receiver.recv().map_or(Ok(()), Err)
    }

    #[test]
    fn a_panic_is_told_with_thread_and_message() {
        let panicked = |message: &str| Err(Panicked { thread: "worker".into(), message: message.into() });
        assert_eq!(run(|| ()), Ok(()));
        assert_eq!(run(|| panic!("plain")), panicked("plain"));
        assert_eq!(run(|| panic!("number {}", 7)), panicked("number 7"));
        assert_eq!(run(|| std::panic::panic_any(7)), panicked("no message"));
    }

    #[test]
    fn a_thread_has_all_signals_blocked_but_faults_and_its_starter_those_from_before() {
        let mut before = SigSet::empty();
        before.add(Signal::SIGUSR1);
        before.thread_swap_mask(SigmaskHow::SIG_SETMASK).unwrap();
        let (sender, receiver) = mpsc::channel();
        run(move || sender.send(SigSet::thread_get_mask().unwrap()).unwrap()).unwrap();
        let mask = receiver.recv().unwrap();
        for signal in Signal::iterator() {
            let never = FAULTS.contains(&signal) || matches!(signal, Signal::SIGKILL | Signal::SIGSTOP);
            assert_eq!(mask.contains(signal), !never, "{signal}");
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
