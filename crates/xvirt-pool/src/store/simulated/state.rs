//! A store without faults: all pairs and their past, and the changes of each revision.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Result;
use crate::store::lease::{Deadlines, not_found};
use crate::store::{
    Change, Changes, Compare, Cursor, Event, Lease, LeaseId, Operation, Outcome, Page, Pair, Position, Revision,
    Transaction, key,
};

pub(super) struct State {
    position: Position,
    /// The pairs that each key had, the newest last.
    pairs: BTreeMap<String, Vec<Row>>,
    changes: BTreeMap<Revision, Vec<Event>>,
    pub(super) leases: Deadlines,
    last_lease: u64,
}

struct Row {
    pair: Pair,
    /// The revision that replaced or deleted it.
    ended: Option<Revision>,
}

impl Row {
    fn is_at(&self, revision: Revision) -> bool {
        self.pair.mod_revision <= revision && self.ended.is_none_or(|ended| revision < ended)
    }
}

impl State {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self {
            position: Position { cursor, compacted: cursor.revision },
            pairs: BTreeMap::new(),
            changes: BTreeMap::new(),
            leases: Deadlines::default(),
            last_lease: 0,
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Pair>> {
        let at = at.unwrap_or(self.position.cursor.revision);
        self.position.check(at)?;
        let rows = self.pairs.get(key).into_iter().flatten();
        Ok(rows.filter(|row| row.is_at(at)).map(|row| row.pair.clone()).next())
    }

    pub(super) fn range(&self, prefix: &str, from: Option<&str>, limit: usize, at: Option<Revision>) -> Result<Page> {
        let at = at.unwrap_or(self.position.cursor.revision);
        self.position.check(at)?;
        let range = from.unwrap_or(prefix).to_owned()..key::end_of(prefix);
        let rows = self.pairs.range(range).flat_map(|(_, rows)| rows).filter(|row| row.is_at(at));
        let mut pairs: Vec<Pair> = rows.take(limit.saturating_add(1)).map(|row| row.pair.clone()).collect();
        let next = (pairs.len() > limit).then(|| pairs.pop()).flatten().map(|pair| pair.key);
        Ok(Page { cursor: Cursor { revision: at, ..self.position.cursor }, pairs, next })
    }

    fn now(&self, key: &str) -> Option<&Pair> {
        self.pairs.get(key)?.last().filter(|row| row.ended.is_none()).map(|row| &row.pair)
    }

    pub(super) fn transaction(&mut self, transaction: &Transaction, now: Duration) -> Result<Outcome> {
        if !transaction.compares.iter().all(|compare| self.holds(compare)) {
            return Ok(Outcome::Conflict);
        }
        for operation in &transaction.operations {
            if let Operation::Put { lease: Some(lease), .. } = operation
                && !self.leases.is_held(*lease, now)
            {
                return Err(not_found(*lease));
            }
        }
        let revision = self.position.cursor.revision.next();
        let mut events = Vec::new();
        for operation in &transaction.operations {
            match operation {
                Operation::Put { key, value, lease } => events.push(self.put(revision, key, value, *lease)),
                Operation::Delete { key } => events.extend(self.delete(revision, key)),
                Operation::DeletePrefix { prefix } => {
                    let range = prefix.clone()..key::end_of(prefix);
                    let keys: Vec<String> = self.pairs.range(range).map(|(key, _)| key.clone()).collect();
                    events.extend(keys.iter().filter_map(|key| self.delete(revision, key)));
                }
            }
        }
        self.commit(revision, events);
        Ok(Outcome::Committed { revision: self.position.cursor.revision })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let now = compare.key().and_then(|key| self.now(key));
        match compare {
            Compare::Exists { .. } => now.is_some(),
            Compare::Absent { .. } => now.is_none(),
            Compare::ModRevision { revision, .. } => now.is_some_and(|pair| pair.mod_revision == *revision),
            Compare::CreateRevision { revision, .. } => now.is_some_and(|pair| pair.create_revision == *revision),
            Compare::Version { version, .. } => now.is_some_and(|pair| pair.version == *version),
            Compare::Value { value, .. } => now.is_some_and(|pair| pair.value == *value),
            Compare::Epoch { epoch } => self.position.cursor.epoch == *epoch,
        }
    }

    fn put(&mut self, revision: Revision, key: &str, value: &[u8], lease: Option<LeaseId>) -> Event {
        let old = self.end(revision, key);
        let (previous, create_revision, version) =
            old.map_or((None, revision, 1), |old| (Some(old.mod_revision), old.create_revision, old.version + 1));
        let (key, value) = (key.to_owned(), value.to_vec());
        let pair = Pair { key, value, create_revision, mod_revision: revision, version, lease };
        self.insert(pair.clone(), None);
        Event { previous, change: Change::Put(pair) }
    }

    fn delete(&mut self, revision: Revision, key: &str) -> Option<Event> {
        let old = self.end(revision, key)?;
        Some(Event { previous: Some(old.mod_revision), change: Change::Delete { key: old.key } })
    }

    /// Ends the newest pair of a key, and returns it.
    fn end(&mut self, revision: Revision, key: &str) -> Option<Pair> {
        let row = self.pairs.get_mut(key)?.last_mut().filter(|row| row.ended.is_none())?;
        row.ended = Some(revision);
        Some(row.pair.clone())
    }

    pub(super) fn insert(&mut self, pair: Pair, ended: Option<Revision>) {
        self.pairs.entry(pair.key.clone()).or_default().push(Row { pair, ended });
    }

    fn commit(&mut self, revision: Revision, mut events: Vec<Event>) {
        if !events.is_empty() {
            events.sort_by(|a, b| a.key().cmp(b.key()));
            self.position.cursor.revision = revision;
            self.changes.insert(revision, events);
        }
    }

    pub(super) fn grant(&mut self, ttl: Duration, now: Duration) -> Lease {
        self.last_lease += 1;
        let lease = Lease { id: LeaseId::new(self.last_lease), ttl };
        self.leases.begin(lease, now);
        lease
    }

    pub(super) fn end_lease(&mut self, lease: LeaseId) {
        self.leases.end(lease);
        let revision = self.position.cursor.revision.next();
        let held = |key: &&String| self.now(key).is_some_and(|pair| pair.lease == Some(lease));
        let keys: Vec<String> = self.pairs.keys().filter(held).cloned().collect();
        let events = keys.iter().filter_map(|key| self.delete(revision, key)).collect();
        self.commit(revision, events);
    }

    pub(super) fn compact(&mut self, revision: Revision) {
        self.position.compacted = self.position.compacted.max(revision);
        self.changes = self.changes.split_off(&revision.next());
        for rows in self.pairs.values_mut() {
            rows.retain(|row| row.ended.is_none_or(|ended| ended > revision));
        }
        self.pairs.retain(|_, rows| !rows.is_empty());
    }

    /// The next changes in a folder after a revision.
    pub(super) fn changes_after(&self, revision: Revision, prefix: &str) -> Option<Changes> {
        self.changes.range(revision.next()..).find_map(|(revision, events)| {
            let events: Vec<Event> = events.iter().filter(|event| event.key().starts_with(prefix)).cloned().collect();
            (!events.is_empty()).then_some(Changes { revision: *revision, events })
        })
    }
}
