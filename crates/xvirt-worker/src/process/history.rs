//! The events of the VM, kept for those who ask later.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, Weak};

use rustix::event::{EventfdFlags, eventfd};

use super::lock;
use crate::protocol::EventFrame;

/// How many events are kept. A service that was away for longer finds a gap in their numbers.
const CAPACITY: usize = 1024;

/// The newest events of the VM.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<EventFrame>,
    /// Whether no more follow.
    over: bool,
    listeners: Vec<Weak<OwnedFd>>,
}

/// What follows an event.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Event(EventFrame),
    /// Nothing yet.
    Later,
    /// Nothing any more.
    Over,
}

impl History {
    /// Adds the newest event.
    pub(super) fn add(&self, event: EventFrame) {
        let mut kept = lock(&self.0);
        if kept.events.len() == CAPACITY {
            kept.events.pop_front();
        }
        kept.events.push_back(event);
        kept.tell();
    }

    /// Says that no more follow.
    pub(super) fn end(&self) {
        let mut kept = lock(&self.0);
        kept.over = true;
        kept.tell();
    }

    /// The sequence number of the last event; 0 if there is none.
    pub(super) fn last(&self) -> u64 {
        lock(&self.0).events.back().map_or(0, |event| event.sequence)
    }

    /// Returns a descriptor (eventfd(2)) that can be read whenever something has changed since it was read last.
    pub(super) fn listen(&self) -> rustix::io::Result<Arc<OwnedFd>> {
        let listener = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        lock(&self.0).listeners.push(Arc::downgrade(&listener));
        Ok(listener)
    }

    /// The first event that is kept with a number above `after`.
    pub(super) fn next(&self, after: u64) -> Next {
        let kept = lock(&self.0);
        match kept.events.iter().find(|event| event.sequence > after) {
            Some(event) => Next::Event(event.clone()),
            None if kept.over => Next::Over,
            None => Next::Later,
        }
    }
}

impl Kept {
    /// Wakes those who listen, and forgets those who do not any more.
    fn tell(&mut self) {
        self.listeners.retain(|listener| {
            let Some(listener) = listener.upgrade() else { return false };
            // Fails if it was told many times already, which is as good.
            let _ = rustix::io::write(&*listener, &1u64.to_ne_bytes());
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Json;

    #[test]
    fn the_newest_are_kept_and_a_gap_shows_in_the_numbers() {
        let history = History::default();
        for sequence in 1..=CAPACITY as u64 + 5 {
            history.add(EventFrame { sequence, record: Json::default() });
        }
        assert_eq!(history.next(history.last()), Next::Later);
        history.end();
        let number = |next| if let Next::Event(event) = next { Some(event.sequence) } else { None };
        assert_eq!(number(history.next(0)), Some(6));
        assert_eq!(number(history.next(7)), Some(8));
        assert_eq!(history.next(history.last()), Next::Over);
    }

    #[test]
    fn whoever_listens_is_woken_by_what_comes() {
        let history = History::default();
        let listener = history.listen().unwrap();
        let told = || rustix::io::read(&*listener, &mut [0; 8]).is_ok();
        assert_eq!((history.next(0), told()), (Next::Later, false));
        history.add(EventFrame { sequence: 1, record: Json::default() });
        assert_eq!((told(), told()), (true, false));
        history.end();
        assert!(told());
    }
}
