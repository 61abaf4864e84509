//! Which objects were changed when, and what one learns of that who was away meanwhile.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{CLASSES, EventOperation};
pub(crate) use crate::objects::{Object, class_number};
use crate::store::{Change, Changes, Revision};

/// How many changes are remembered. What is older is read from the store, as far as that goes back.
const REMEMBERED: usize = 8192;
/// Its events precede all others.
const FIRST: &str = "message";

/// One change of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    revision: Revision,
    object: Object,
    /// Whether it was there before and after the change.
    before: bool,
    after: bool,
}

impl Entry {
    pub(crate) fn object(&self) -> Object {
        self.object
    }
}

/// The changes of records that a transaction made.
pub(crate) fn entries(changes: &Changes) -> impl Iterator<Item = Entry> {
    let revision = changes.revision;
    changes.events.iter().filter_map(move |event| {
        let object = Object::of_key(event.key())?;
        let after = matches!(event.change, Change::Put(_));
        Some(Entry { revision, object, before: event.previous.is_some(), after })
    })
}

/// What became of each object: one event for all of its changes. An object that came and went is none.
pub(crate) fn coalesce(
    entries: impl Iterator<Item = Entry>,
    wanted: impl Fn(Object) -> bool,
) -> Vec<(Object, EventOperation)> {
    let mut fates: BTreeMap<Object, (bool, bool)> = BTreeMap::new();
    for entry in entries.filter(|entry| wanted(entry.object)) {
        fates.entry(entry.object).or_insert((entry.before, entry.after)).1 = entry.after;
    }
    let mut events: Vec<_> = fates
        .into_iter()
        .filter_map(|(object, fate)| match fate {
            (false, true) => Some((object, EventOperation::Add)),
            (true, true) => Some((object, EventOperation::Mod)),
            (true, false) => Some((object, EventOperation::Del)),
            (false, false) => None,
        })
        .collect();
    events.sort_by_key(|(object, operation)| rank(*object, *operation));
    events
}

/// The order of events: those of messages, then objects that are new, have changed, and are gone.
pub(crate) fn rank(object: Object, operation: EventOperation) -> (bool, u8) {
    let other = object.table().is_none_or(|table| table.name != FIRST);
    let place = match operation {
        EventOperation::Add => 0,
        EventOperation::Mod => 1,
        EventOperation::Del => 2,
    };
    (other, place)
}

/// The changes of late, and how many objects of each class there are.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// All changes after this revision are in `entries`.
    begin: Revision,
    end: Revision,
    counts: Vec<i64>,
}

impl Log {
    /// A log that begins at a revision, at which there are these objects.
    pub(crate) fn new(at: Revision, objects: impl IntoIterator<Item = Object>) -> Self {
        let mut log = Self { entries: VecDeque::new(), begin: at, end: at, counts: vec![0; CLASSES.len()] };
        objects.into_iter().for_each(|object| log.count(object, 1));
        log
    }

    fn count(&mut self, object: Object, difference: i64) {
        if let Some(count) = self.counts.get_mut(usize::from(object.class)) {
            *count += difference;
        }
    }

    /// Adds what a transaction changed, and returns the objects.
    pub(crate) fn add(&mut self, changes: &Changes) -> Vec<Object> {
        let mut objects = Vec::new();
        for entry in entries(changes) {
            self.count(entry.object, i64::from(entry.after) - i64::from(entry.before));
            objects.push(entry.object);
            self.entries.push_back(entry);
            if self.entries.len() > REMEMBERED
                && let Some(forgotten) = self.entries.pop_front()
            {
                self.begin = forgotten.revision;
            }
        }
        self.end = self.end.max(changes.revision);
        objects
    }

    /// Says that nothing else has changed up to a revision.
    pub(crate) fn reached(&mut self, revision: Revision) {
        self.end = self.end.max(revision);
    }

    /// The last revision of which the changes are known.
    pub(crate) fn end(&self) -> Revision {
        self.end
    }

    /// The changes after a revision, if all of them are known.
    pub(crate) fn since(&self, after: Revision) -> Option<impl Iterator<Item = Entry> + '_> {
        let first = self.entries.partition_point(|entry| entry.revision <= after);
        (after >= self.begin).then(|| self.entries.iter().skip(first).copied())
    }

    /// How many objects of each class there are, by the number of the class.
    pub(crate) fn counts(&self) -> &[i64] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::{Event, Pair};

    fn key(class: &str, uuid: Uuid) -> String {
        format!("/{class}/{uuid}/record")
    }

    fn put(key: &str, previous: Option<u64>) -> Event {
        let pair = Pair {
            key: key.to_owned(),
            value: Vec::new(),
            create_revision: Revision::new(1),
            mod_revision: Revision::new(1),
            version: 1,
            lease: None,
        };
        Event { previous: previous.map(Revision::new), change: Change::Put(pair) }
    }

    fn delete(key: &str) -> Event {
        Event { previous: Some(Revision::new(1)), change: Change::Delete { key: key.to_owned() } }
    }

    fn log(all: Vec<Vec<Event>>) -> Log {
        let mut log = Log::new(Revision::new(0), []);
        for (number, events) in (1..).zip(all) {
            log.add(&Changes { revision: Revision::new(number), events });
        }
        log
    }

    fn told(log: &Log, after: u64) -> Vec<(String, EventOperation)> {
        let entries = log.since(Revision::new(after)).unwrap();
        let named = |object: Object| object.table().unwrap().name.to_lowercase();
        coalesce(entries, |_| true).into_iter().map(|(object, operation)| (named(object), operation)).collect()
    }

    #[test]
    fn all_changes_of_an_object_are_one_event_in_the_order_of_xenapi() {
        use EventOperation::{Add, Del, Mod};
        let id = [(); 5].map(|()| Uuid::new_v4());
        let (gone, short, new) = (key("vm", id[0]), key("vbd", id[1]), key("vdi", id[2]));
        let (news, changed) = (key("message", id[3]), key("host", id[4]));
        let log = log(vec![
            vec![put(&gone, Some(1)), put(&short, None)],
            vec![put(&changed, Some(1)), put(&new, None)],
            vec![delete(&gone), delete(&short), put(&new, Some(2))],
            vec![put(&news, None)],
        ]);
        let name = |class: &str, operation| (class.to_owned(), operation);
        assert_eq!(told(&log, 0), [name("message", Add), name("vdi", Add), name("host", Mod), name("vm", Del)]);
        // Who has seen that it was new learns that it has changed.
        assert_eq!(told(&log, 2), [name("message", Add), name("vdi", Mod), name("vbd", Del), name("vm", Del)]);
        assert_eq!(told(&log, 4), []);
        let count = |class: &str| log.counts()[usize::from(class_number(class).unwrap())];
        assert_eq!((count("vdi"), count("vbd"), count("message"), count("vm")), (1, 0, 1, -1));
    }

    #[test]
    fn sessions_and_what_is_beside_records_are_no_events() {
        let uuid = Uuid::new_v4();
        for key in [key("session", uuid), format!("/vm/{uuid}/owner"), "/vm/1/record".into(), key("x", uuid)] {
            assert_eq!(Object::of_key(&key), None, "{key}");
        }
    }

    #[test]
    fn what_is_forgotten_is_said() {
        let keys: Vec<String> = (0..2).map(|_| key("vm", Uuid::new_v4())).collect();
        let mut log = Log::new(Revision::new(7), []);
        assert!(log.since(Revision::new(6)).is_none());
        for number in 8..8 + REMEMBERED as u64 {
            let events = keys.iter().map(|key| put(key, Some(1))).collect();
            log.add(&Changes { revision: Revision::new(number), events });
        }
        assert!(log.since(Revision::new(7)).is_none());
        let half = log.begin;
        assert_eq!(log.since(half).unwrap().count(), REMEMBERED);
        assert_eq!(coalesce(log.since(half).unwrap(), |_| true).len(), 2);
    }
}
