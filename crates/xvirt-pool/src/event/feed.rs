//! Follows the store once for all callers, and wakes those that wait for one of the objects that were changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::history::{self, Log, Object};
use super::wanted::Wanted;
use crate::model::EventOperation;
use crate::operation::{Failure, codes};
use crate::store::{Closer, Cursor, Revision, Store};
use crate::sync::lock;
use crate::{ErrorKind, Result};

/// How many pairs a page has.
const PAGE: usize = 500;
/// How long after a failure of the store it is followed again.
const AGAIN: Duration = Duration::from_secs(1);

/// What has changed lately, and who waits for it.
pub(crate) struct Feed {
    store: Arc<dyn Store>,
    state: Mutex<State>,
    /// The log got further, or is closed.
    advanced: Condvar,
}

#[derive(Default)]
struct State {
    /// None until the store was read.
    log: Option<(u64, Log)>,
    waiters: BTreeMap<u64, Arc<Waiter>>,
    next: u64,
    /// Closes the watch.
    closer: Option<Closer>,
    closed: bool,
}

struct Waiter {
    caller: String,
    wanted: Wanted,
    /// Together with the lock on the state.
    woken: Condvar,
    given_up: AtomicBool,
}

/// What a caller learns.
#[derive(Debug)]
pub(crate) struct Found {
    /// What became of each object, in the order of events; `None` if everything must be read.
    pub(crate) changed: Option<Vec<(Object, EventOperation)>>,
    /// How many objects of each class there are.
    pub(crate) counts: Vec<i64>,
    /// Up to where this is.
    pub(crate) at: Cursor,
}

impl Feed {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, state: Mutex::default(), advanced: Condvar::new() }
    }

    /// Follows the store until the feed is closed. `idle` is called when nothing has changed for `every`, and at most that
    /// often otherwise.
    pub(crate) fn run(&self, every: Duration, mut idle: impl FnMut()) {
        let mut last = Instant::now();
        loop {
            let followed = self.follow(every, &mut || {
                if last.elapsed() >= every {
                    idle();
                    last = Instant::now();
                }
            });
            let state = lock(&self.state);
            if state.closed {
                return;
            }
            if let Err(error) = followed {
                tracing::warn!(%error, "the changes of the store cannot be followed; it is read again");
            }
            drop(self.advanced.wait_timeout_while(state, AGAIN, |state| !state.closed));
        }
    }

    /// Reads which objects there are, then all changes. Ends with an error, or when the feed is closed.
    fn follow(&self, every: Duration, each: &mut impl FnMut()) -> Result<()> {
        let (cursor, objects) = self.read_all()?;
        let mut watch = self.store.watch("/", cursor)?;
        {
            let mut state = lock(&self.state);
            if state.closed {
                return Ok(());
            }
            state.closer = Some(watch.closer());
            state.log = Some((cursor.epoch, Log::new(cursor.revision, objects)));
            // Whoever waits may have missed something.
            state.waiters.values().for_each(|waiter| waiter.woken.notify_all());
            self.advanced.notify_all();
        }
        loop {
            let changes = watch.next(every)?;
            {
                let mut state = lock(&self.state);
                let State { log: Some((_, log)), waiters, .. } = &mut *state else { return Ok(()) };
                let objects = changes.map(|changes| log.add(&changes)).unwrap_or_default();
                log.reached(watch.cursor().revision);
                for waiter in waiters.values() {
                    if objects.iter().any(|object| waiter.wanted.has(*object)) {
                        waiter.woken.notify_all();
                    }
                }
                self.advanced.notify_all();
            }
            each();
        }
    }

    fn read_all(&self) -> Result<(Cursor, Vec<Object>)> {
        let (mut from, mut at, mut objects) = (None, None, Vec::new());
        loop {
            let page = self.store.range("/", from.as_deref(), PAGE, at)?;
            objects.extend(page.pairs.iter().filter_map(|pair| Object::of_key(&pair.key)));
            at = Some(page.cursor.revision);
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok((page.cursor, objects)),
            }
        }
    }

    /// Waits until something that is wanted has changed after a cursor, or the time is over. Without a cursor, it is there
    /// at once. What `caller` waits for can be [given up](Self::give_up).
    ///
    /// # Errors
    /// The service ends, the caller has left, or the store fails.
    pub(crate) fn wait(
        &self,
        caller: &str,
        wanted: &Wanted,
        after: Option<Cursor>,
        until: Option<Instant>,
    ) -> std::result::Result<Found, Failure> {
        // What the caller has written itself is seen.
        let position = self.store.position()?.cursor;
        let mut state = self.reach(position)?;
        let known = |after: &Cursor| after.epoch == position.epoch && after.revision <= position.revision;
        let Some(mut after) = after.filter(known) else { return found(&state, None) };
        let mut waiter = None;
        let outcome = loop {
            match look(&state, wanted, after) {
                Look::Found(found) => break Ok(found),
                Look::Forgotten { at, counts } => {
                    drop(state);
                    let changed = self.older(wanted, after, at.revision);
                    state = lock(&self.state);
                    match changed {
                        Ok(Some(nothing)) if nothing.is_empty() => after = at,
                        Ok(changed) => break Ok(Found { changed, counts, at }),
                        Err(failure) => break Err(failure),
                    }
                    continue;
                }
                Look::Nothing => {}
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break found(&state, Some(Vec::new()));
            }
            let (_, waiter) = waiter.get_or_insert_with(|| state.enter(Waiter::new(caller, wanted)));
            state = match left {
                None => waiter.woken.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => waiter.woken.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            if state.closed {
                break Err(ending());
            }
            if waiter.given_up.load(Ordering::SeqCst) {
                break Err(Failure::new("SESSION_INVALID", [caller]).with_remedy("log in again"));
            }
        };
        if let Some((number, _)) = waiter {
            state.waiters.remove(&number);
        }
        outcome
    }

    /// Waits until the log is as far as a position of the store.
    fn reach(&self, position: Cursor) -> std::result::Result<MutexGuard<'_, State>, Failure> {
        let behind = |state: &mut State| {
            let reached = |(epoch, log): &(u64, Log)| (*epoch, log.end()) >= (position.epoch, position.revision);
            !state.closed && !state.log.as_ref().is_some_and(reached)
        };
        let state = self.advanced.wait_while(lock(&self.state), behind).unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(ending()) } else { Ok(state) }
    }

    /// What was changed between two revisions, of which the log does not know the first. `None` if the store has
    /// forgotten it, too.
    fn older(
        &self,
        wanted: &Wanted,
        after: Cursor,
        until: Revision,
    ) -> std::result::Result<Option<Vec<(Object, EventOperation)>>, Failure> {
        let mut entries = Vec::new();
        let mut read = || -> Result<()> {
            let mut watch = self.store.watch("/", after)?;
            while let Some(changes) = watch.next(Duration::ZERO)? {
                if changes.revision > until {
                    break;
                }
                entries.extend(history::entries(&changes).filter(|entry| wanted.has(entry.object())));
            }
            Ok(())
        };
        match read() {
            Ok(()) => Ok(Some(history::coalesce(entries.into_iter(), |_| true))),
            Err(error) if matches!(error.kind(), ErrorKind::Compacted | ErrorKind::EpochChanged) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the waits of a caller.
    pub(crate) fn give_up(&self, caller: &str) {
        let state = lock(&self.state);
        for waiter in state.waiters.values().filter(|waiter| waiter.caller == caller) {
            waiter.given_up.store(true, Ordering::SeqCst);
            waiter.woken.notify_all();
        }
    }

    /// Ends the feed, and all waits.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        if let Some(closer) = &state.closer {
            closer.close();
        }
        state.waiters.values().for_each(|waiter| waiter.woken.notify_all());
        self.advanced.notify_all();
    }
}

impl Waiter {
    fn new(caller: &str, wanted: &Wanted) -> Self {
        Self { caller: caller.to_owned(), wanted: wanted.clone(), woken: Condvar::new(), given_up: false.into() }
    }
}

impl State {
    /// Adds who waits, with its number.
    fn enter(&mut self, waiter: Waiter) -> (u64, Arc<Waiter>) {
        let (number, waiter) = (self.next, Arc::new(waiter));
        self.next += 1;
        self.waiters.insert(number, Arc::clone(&waiter));
        (number, waiter)
    }
}

/// What a look at the log says.
enum Look {
    Nothing,
    Found(Found),
    /// The log does not go back so far.
    Forgotten {
        at: Cursor,
        counts: Vec<i64>,
    },
}

fn look(state: &State, wanted: &Wanted, after: Cursor) -> Look {
    let Some((epoch, log)) = &state.log else { return Look::Nothing };
    let (at, counts) = (Cursor { epoch: *epoch, revision: log.end() }, || log.counts().to_vec());
    if *epoch != after.epoch {
        return Look::Found(Found { changed: None, counts: counts(), at });
    }
    let Some(entries) = log.since(after.revision) else { return Look::Forgotten { at, counts: counts() } };
    let events = history::coalesce(entries, |object| wanted.has(object));
    if events.is_empty() { Look::Nothing } else { Look::Found(Found { changed: Some(events), counts: counts(), at }) }
}

/// What is found at the end of the log.
fn found(state: &State, changed: Option<Vec<(Object, EventOperation)>>) -> std::result::Result<Found, Failure> {
    let (epoch, log) = state.log.as_ref().ok_or_else(ending)?;
    let at = Cursor { epoch: *epoch, revision: log.end() };
    Ok(Found { changed, counts: log.counts().to_vec(), at })
}

fn ending() -> Failure {
    codes::internal("the host service ends").with_remedy("ask again when it has begun again")
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("waiting", &lock(&self.state).waiters.len()).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "simulation"))]
mod tests;
