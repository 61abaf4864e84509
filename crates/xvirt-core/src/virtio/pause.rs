//! How a worker and its owner agree on whether it works. All interleavings of it are tried in `proofs/`.

use crate::sync::{Arc, AtomicBool, Condvar, Mutex, Ordering, lock, wait};

/// What a worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Run,
    Pause,
    Stop,
}

/// What both share. `P` is where a worker is in its work.
#[derive(Debug)]
pub(crate) struct PauseControl<P> {
    state: Mutex<State<P>>,
    changed: Condvar,
    /// Set while the worker is wanted elsewhere: it takes no further request.
    stop_serving: Arc<AtomicBool>,
}

#[derive(Debug)]
struct State<P> {
    wanted: Wanted,
    /// Where the worker is, while it is paused.
    paused: Option<P>,
    /// The thread has ended.
    ended: bool,
}

impl<P: Clone> PauseControl<P> {
    /// For a worker that starts paused or running.
    pub(crate) fn new(paused: bool) -> Self {
        let wanted = if paused { Wanted::Pause } else { Wanted::Run };
        Self {
            state: Mutex::new(State { wanted, paused: None, ended: false }),
            changed: Condvar::new(),
            stop_serving: Arc::new(AtomicBool::new(paused)),
        }
    }

    /// The flag that is set while the worker is to take no further request.
    pub(crate) fn stop_serving(&self) -> Arc<AtomicBool> {
        self.stop_serving.clone()
    }

    /// Tells the worker what to do, once it looks: whoever asks wakes it, too.
    pub(crate) fn want(&self, wanted: Wanted) {
        let mut state = lock(&self.state);
        state.wanted = wanted;
        self.stop_serving.store(wanted != Wanted::Run, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Returns when the worker is paused, or has ended.
    pub(crate) fn wait_paused(&self) {
        let mut state = lock(&self.state);
        while state.paused.is_none() && !state.ended {
            state = wait(&self.changed, state);
        }
    }

    /// Where the worker is; `None` unless it is paused.
    pub(crate) fn position(&self) -> Option<P> {
        lock(&self.state).paused.clone()
    }

    /// For the worker: waits as long as it is told to pause, or is `broken` and has nothing left to do; `false` when told
    /// to stop.
    pub(crate) fn obey(&self, broken: bool, position: impl Fn() -> P) -> bool {
        let mut state = lock(&self.state);
        loop {
            match state.wanted {
                Wanted::Stop => return false,
                Wanted::Run if !broken => break,
                Wanted::Run => state.paused = None,
                Wanted::Pause if state.paused.is_none() => {
                    state.paused = Some(position());
                    self.changed.notify_all();
                }
                Wanted::Pause => {}
            }
            state = wait(&self.changed, state);
        }
        state.paused = None;
        true
    }

    /// For the worker: lets nobody wait for it any more.
    pub(crate) fn end(&self) {
        lock(&self.state).ended = true;
        self.changed.notify_all();
    }
}
