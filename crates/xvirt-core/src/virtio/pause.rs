//! The pause protocol between a worker and its owner. `proofs/` model-checks all its interleavings.

use crate::sync::{Arc, AtomicBool, Condvar, Mutex, Ordering, lock, wait};

/// What the worker should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Run,
    Pause,
    Stop,
}

/// State that both share. `P` is the worker's position in its work.
#[derive(Debug)]
pub(crate) struct PauseControl<P> {
    state: Mutex<State<P>>,
    changed: Condvar,
    /// Set while the worker should stop taking requests to look at `wanted`.
    stop_serving: Arc<AtomicBool>,
}

#[derive(Debug)]
struct State<P> {
    wanted: Wanted,
    /// The position of the worker, while it is paused.
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

    /// The flag that is set while the worker should take no further request.
    pub(crate) fn stop_serving(&self) -> Arc<AtomicBool> {
        self.stop_serving.clone()
    }

    /// Sets what the worker should do. The caller must also wake it.
    pub(crate) fn want(&self, wanted: Wanted) {
        let mut state = lock(&self.state);
        state.wanted = wanted;
        self.stop_serving.store(wanted != Wanted::Run, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Waits until the worker is paused or has ended.
    pub(crate) fn wait_paused(&self) {
        let mut state = lock(&self.state);
        while state.paused.is_none() && !state.ended {
            state = wait(&self.changed, state);
        }
    }

    /// The position of the worker; `None` unless it is paused.
    pub(crate) fn position(&self) -> Option<P> {
        lock(&self.state).paused.clone()
    }

    /// For the worker: waits while it should pause, or while it is `broken` and has no work; `false` means stop.
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

    /// For the worker: marks it as ended, so that no one waits for it.
    pub(crate) fn end(&self) {
        lock(&self.state).ended = true;
        self.changed.notify_all();
    }
}
