//! A worker like the one in `virtio/worker.rs`: it serves until it is interrupted, and sleeps until it is woken.

use loom::cell::Cell;
use loom::sync::Notify;
use loom::thread;

use crate::pause::{PauseControl, Wanted};
use crate::sync::{Arc, Ordering};

struct Shared {
    pause: PauseControl<usize>,
    /// Stands for the event that wakes the worker.
    wake: Notify,
    /// Accessed by the worker while it is not paused, and by its owner while it is.
    work: Cell<usize>,
}

// SAFETY: loom's cell detects concurrent accesses itself, and fails the model.
unsafe impl Sync for Shared {}

impl Shared {
    fn new(paused: bool) -> Arc<Self> {
        Arc::new(Self { pause: PauseControl::new(paused), wake: Notify::new(), work: Cell::new(0) })
    }

    fn set(&self, wanted: Wanted) {
        self.pause.want(wanted);
        self.wake.notify();
    }

    fn pause(&self) {
        self.set(Wanted::Pause);
        self.pause.wait_paused();
    }

    /// The main loop of a worker that breaks after `breaks_after` units of work.
    fn live(&self, breaks_after: usize) {
        let stop_serving = self.pause.stop_serving();
        let mut broken = false;
        while self.pause.obey(broken, || self.work.get()) {
            loop {
                if !stop_serving.load(Ordering::Relaxed) {
                    self.work.set(self.work.get() + 1);
                    broken = self.work.get() >= breaks_after;
                }
                if broken {
                    break;
                }
                self.wake.wait();
                if stop_serving.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
        self.pause.end();
    }
}

fn check(breaks_after: usize, owner: impl Fn(&Shared) + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let shared = Shared::new(false);
        let worker = {
            let shared = shared.clone();
            thread::spawn(move || shared.live(breaks_after))
        };
        owner(&shared);
        shared.set(Wanted::Stop);
        worker.join().expect("it does not panic");
    });
}

/// Checks that nothing is accessed during a pause, and that the saved state is current.
fn pause_and_look(shared: &Shared) {
    shared.pause();
    let saved = shared.pause.position();
    assert_eq!(saved, Some(shared.work.get()));
}

#[test]
fn a_paused_worker_touches_nothing() {
    check(usize::MAX, |shared| {
        pause_and_look(shared);
        shared.set(Wanted::Run);
    });
}

#[test]
fn a_pause_right_after_a_resume_holds() {
    check(usize::MAX, |shared| {
        pause_and_look(shared);
        shared.set(Wanted::Run);
        pause_and_look(shared);
    });
}

#[test]
fn a_broken_worker_pauses_and_stops_too() {
    check(1, |shared| {
        pause_and_look(shared);
        shared.set(Wanted::Run);
        pause_and_look(shared);
    });
}

#[test]
fn nobody_waits_for_a_worker_that_has_ended() {
    loom::model(|| {
        let shared = Shared::new(false);
        let worker = {
            let shared = shared.clone();
            thread::spawn(move || shared.pause.end())
        };
        shared.pause();
        worker.join().expect("it does not panic");
    });
}
