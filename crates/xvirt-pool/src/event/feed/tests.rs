//! Several callers that wait for changes of a store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;

use uuid::Uuid;

use super::*;
use crate::store::{ManualClock, SimulatedStore, Transaction};

/// Never waited for in full unless a test fails.
const LONG: Duration = Duration::from_secs(60);

struct Followed {
    store: Arc<SimulatedStore>,
    feed: Arc<Feed>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Followed {
    fn new() -> Self {
        let store = Arc::new(SimulatedStore::new(1, Arc::new(ManualClock::default())));
        Self::over(store)
    }

    fn over(store: Arc<SimulatedStore>) -> Self {
        let feed = Arc::new(Feed::new(Arc::clone(&store) as Arc<dyn Store>));
        let followed = Arc::clone(&feed);
        let thread = Some(thread::spawn(move || followed.run(LONG, || {})));
        Self { store, feed, thread }
    }

    fn put(&self, class: &str, uuid: Uuid) {
        self.commit(Transaction::new().put(format!("/{class}/{uuid}/record"), "{}"));
    }

    fn delete(&self, class: &str, uuid: Uuid) {
        self.commit(Transaction::new().delete(format!("/{class}/{uuid}/record")));
    }

    fn commit(&self, transaction: Transaction) {
        assert!(matches!(self.store.transaction(&transaction).unwrap(), crate::store::Outcome::Committed { .. }));
    }

    fn wait(&self, wanted: &str, after: Option<Cursor>) -> std::result::Result<Found, Failure> {
        self.feed.wait("me", &Wanted::parse([wanted])?, after, Some(Instant::now() + LONG))
    }

    fn here(&self) -> Cursor {
        self.store.position().unwrap().cursor
    }

    /// Waits until somebody waits.
    fn waiting(&self, callers: usize) {
        while lock(&self.feed.state).waiters.len() != callers {
            thread::yield_now();
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.feed.close();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn changed(found: &Found) -> Vec<(Uuid, EventOperation)> {
    found.changed.as_ref().unwrap().iter().map(|(object, operation)| (object.uuid, *operation)).collect()
}

#[test]
fn a_caller_learns_of_what_was_written_before_it_asked() {
    let followed = Followed::new();
    let (vm, host) = (Uuid::new_v4(), Uuid::new_v4());
    let begin = followed.here();
    for _ in 0..50 {
        followed.put("vm", vm);
        let found = followed.wait("vm", Some(begin)).unwrap();
        assert_eq!(changed(&found), [(vm, EventOperation::Add)]);
    }
    followed.put("host", host);
    let found = followed.wait("*", Some(begin)).unwrap();
    assert_eq!(found.at, followed.here());
    assert_eq!(found.counts.iter().sum::<i64>(), 2);
}

#[test]
fn only_who_wants_it_is_woken() {
    let followed = Arc::new(Followed::new());
    let (vm, task, begin) = (Uuid::new_v4(), Uuid::new_v4(), followed.here());
    let waits = |wanted: String| {
        let followed = Arc::clone(&followed);
        thread::spawn(move || followed.wait(&wanted, Some(begin)).unwrap())
    };
    let (vms, tasks) = (waits("vm".to_owned()), waits(format!("task/OpaqueRef:{task}")));
    followed.waiting(2);
    followed.put("task", Uuid::new_v4());
    followed.put("vm", vm);
    assert_eq!(changed(&vms.join().unwrap()), [(vm, EventOperation::Add)]);
    followed.waiting(1);
    followed.put("task", task);
    assert_eq!(changed(&tasks.join().unwrap()), [(task, EventOperation::Add)]);
    followed.waiting(0);
}

#[test]
fn the_end_of_the_time_is_no_error_and_moves_on() {
    let followed = Followed::new();
    let begin = followed.here();
    followed.put("host", Uuid::new_v4());
    let wanted = Wanted::parse(["vm"]).unwrap();
    let found = followed.feed.wait("me", &wanted, Some(begin), Some(Instant::now())).unwrap();
    assert_eq!((changed(&found), found.at), (vec![], followed.here()));
}

#[test]
fn a_token_is_good_for_a_later_service_until_the_store_forgets() {
    let (followed, vm, gone) = (Followed::new(), Uuid::new_v4(), Uuid::new_v4());
    followed.put("vm", gone);
    let before = followed.here();
    followed.put("vm", vm);
    followed.delete("vm", gone);
    let store = Arc::clone(&followed.store);
    drop(followed);
    let later = Followed::over(store);
    let expected = [(vm, EventOperation::Add), (gone, EventOperation::Del)];
    assert_eq!(changed(&later.wait("vm", Some(before)).unwrap()), expected);
    // Nothing of that is wanted, so it goes on waiting from where the log begins.
    later.feed.wait("me", &Wanted::parse(["host"]).unwrap(), Some(before), Some(Instant::now())).unwrap();
    later.store.compact(later.here().revision).unwrap();
    assert!(later.wait("vm", Some(before)).unwrap().changed.is_none());
    // As for a token of another epoch, and one from the future.
    let other = Cursor { epoch: 99, ..later.here() };
    let future = Cursor { revision: Revision::new(1 << 40), ..later.here() };
    for token in [None, Some(other), Some(future)] {
        assert!(later.wait("vm", token).unwrap().changed.is_none());
    }
}

#[test]
fn waits_end_with_their_caller_and_with_the_service() {
    let followed = Arc::new(Followed::new());
    let begin = followed.here();
    let waits = |caller: &'static str| {
        let followed = Arc::clone(&followed);
        thread::spawn(move || followed.feed.wait(caller, &Wanted::parse(["vm"]).unwrap(), Some(begin), None))
    };
    let (leaves, stays) = (waits("leaves"), waits("stays"));
    followed.waiting(2);
    followed.feed.give_up("leaves");
    assert_eq!(leaves.join().unwrap().unwrap_err().code, "SESSION_INVALID");
    followed.waiting(1);
    followed.feed.close();
    assert_eq!(stays.join().unwrap().unwrap_err().code, "INTERNAL_ERROR");
    assert_eq!(followed.wait("vm", None).unwrap_err().code, "INTERNAL_ERROR");
}
