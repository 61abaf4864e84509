//! The CPU time of threads according to the kernel.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sync::lock;

/// The CPU time of successive threads that do the same job.
#[derive(Debug, Default)]
pub(crate) struct ThreadTime {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The time of ended threads.
    ended: Duration,
    /// The clock of the current thread.
    clock: Option<libc::clockid_t>,
}

/// Counts the calling thread until it is dropped.
#[derive(Debug)]
pub(crate) struct AtWork(Arc<ThreadTime>);

impl ThreadTime {
    /// Starts to count the calling thread. Only one thread may be counted at a time.
    pub(crate) fn begin(self: &Arc<Self>) -> AtWork {
        let mut clock = 0;
        // SAFETY: the calling thread exists, and the clock id is written to a local variable.
        let result = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
        lock(&self.state).clock = (result == 0).then_some(clock);
        AtWork(Arc::clone(self))
    }

    /// The total so far.
    pub(crate) fn total(&self) -> Duration {
        // The lock keeps the thread from ending meanwhile, so that its clock id is valid.
        let state = lock(&self.state);
        state.ended + state.clock.map_or(Duration::ZERO, read)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if let Some(clock) = state.clock.take() {
            state.ended += read(clock);
        }
    }
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to a local struct; an invalid clock is an error.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Duration::ZERO;
    }
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn work(amount: Duration) {
        let began = Instant::now();
        while began.elapsed() < amount {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn the_time_of_threads_adds_up_after_they_are_gone() {
        let time = Arc::new(ThreadTime::default());
        assert_eq!(time.total(), Duration::ZERO);
        let mut last = Duration::ZERO;
        for _ in 0..2 {
            let of_thread = Arc::clone(&time);
            let during = std::thread::spawn(move || {
                let _at_work = of_thread.begin();
                work(Duration::from_millis(20));
                of_thread.total()
            });
            let during = during.join().unwrap();
            let after = time.total();
            assert!(during > last && after >= during, "{last:?} {during:?} {after:?}");
            assert_eq!(time.total(), after, "it goes on without a thread");
            last = after;
        }
    }
}
