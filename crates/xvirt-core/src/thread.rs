//! How this crate starts threads, for every floor.
//!
//! A thread of ours has all signals blocked, so that no signal handler of the program that embeds us runs on it; what the
//! thread that calls us has blocked does not matter. And no panic ends one unnoticed: whoever starts a thread says what
//! is to happen then. A panic need not be a fault of ours, because log subscribers and backends of the program run on
//! these threads too.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle, current};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use tracing::Span;

/// Signals that tell a thread of a fault of its own. Blocked, they would kill the process without a word.
const FAULTS: [Signal; 7] =
    [Signal::SIGABRT, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGSYS, Signal::SIGTRAP];

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panicked {
    /// The name of the thread it was on.
    pub(crate) thread: String,
    /// What it said.
    pub(crate) message: String,
}

/// Starts a thread that does `work` in `span`, and then, if that panicked, `panicked`.
pub(crate) fn spawn(
    name: &str,
    stack: usize,
    span: Span,
    work: impl FnOnce() + Send + 'static,
    panicked: impl FnOnce(Panicked) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let life = move || {
        // The log subscriber may panic at the ends of the span, too. The work is caught inside it, because a second
        // panic while the first unwinds would abort the process.
        let outcome = caught(|| span.in_scope(|| caught(work)));
        if let Err(panic) = outcome.and_then(|outcome| outcome) {
            panicked(panic);
        }
    };
    with_signals_blocked(|| Builder::new().name(name.to_owned()).stack_size(stack).spawn(life))
}

/// Does `start` with the signals blocked that threads of ours have blocked, which those that it starts inherit.
pub(crate) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    /// Gives the calling thread its signals back.
    struct Restore(Option<SigSet>);

    impl Drop for Restore {
        fn drop(&mut self) {
            // Fails only for an unknown way to change the mask.
            let _ = self.0.map(|mask| mask.thread_set_mask());
        }
    }

    let mut blocked = SigSet::all();
    FAULTS.into_iter().for_each(|signal| blocked.remove(signal));
    let _restore = Restore(blocked.thread_swap_mask(SigmaskHow::SIG_SETMASK).ok());
    start()
}

/// Does `work`; a panic in it comes no further than here. What `work` leaves behind then must be fit for use.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panicked {
        thread: current().name().unwrap_or("unnamed").to_owned(),
        message: message_of(&*payload),
    })
}

/// What `panic!` was given, if it was text.
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
