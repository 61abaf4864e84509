//! The events of the VM, kept for those who ask later.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use super::lock;
use crate::protocol::EventFrame;

/// How many events are kept. A service that was away for longer finds a gap in their numbers.
const CAPACITY: usize = 1024;

/// The newest events of the VM.
#[derive(Debug, Default)]
pub(super) struct History {
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<EventFrame>,
    /// Whether no more follow.
    over: bool,
}

impl History {
    /// Adds the newest event.
    pub(super) fn add(&self, event: EventFrame) {
        let mut kept = lock(&self.kept);
        if kept.events.len() == CAPACITY {
            kept.events.pop_front();
        }
        kept.events.push_back(event);
        self.changed.notify_all();
    }

    /// Says that no more follow.
    pub(super) fn end(&self) {
        lock(&self.kept).over = true;
        self.changed.notify_all();
    }

    /// The sequence number of the last event; 0 if there is none.
    pub(super) fn last(&self) -> u64 {
        lock(&self.kept).events.back().map_or(0, |event| event.sequence)
    }

    /// Waits for the first event that is kept with a number above `after`; `None` once no more follow.
    pub(super) fn next(&self, after: u64) -> Option<EventFrame> {
        let mut kept = lock(&self.kept);
        loop {
            if let Some(event) = kept.events.iter().find(|event| event.sequence > after) {
                return Some(event.clone());
            }
            if kept.over {
                return None;
            }
            kept = self.changed.wait(kept).unwrap_or_else(PoisonError::into_inner);
        }
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
        history.end();
        assert_eq!(history.next(0).map(|event| event.sequence), Some(6));
        assert_eq!(history.next(7).map(|event| event.sequence), Some(8));
        assert_eq!(history.next(history.last()), None);
    }
}
