//! What a store should do, as plainly as possible: it keeps a copy of everything for each revision.

use std::collections::BTreeMap;

use xvirt_pool::store::{Change, Changes, Compare, Event, LeaseId, Operation, Outcome, Pair, Revision, Transaction};

pub type State = BTreeMap<String, Pair>;

#[derive(Debug)]
pub struct Model {
    pub epoch: u64,
    pub states: BTreeMap<Revision, State>,
    pub compacted: Revision,
    pub leases: Vec<LeaseId>,
}

impl Model {
    pub fn new() -> Self {
        let states = BTreeMap::from([(Revision::new(0), State::new())]);
        Self { epoch: 1, states, compacted: Revision::new(0), leases: Vec::new() }
    }

    pub fn revision(&self) -> Revision {
        *self.states.last_key_value().unwrap().0
    }

    pub fn now(&self) -> &State {
        self.states.last_key_value().unwrap().1
    }

    /// `None` if a lease is missing.
    pub fn transaction(&mut self, transaction: &Transaction) -> Option<Outcome> {
        if !transaction.compares.iter().all(|compare| self.holds(compare)) {
            return Some(Outcome::Conflict);
        }
        let revision = Revision::new(self.revision().number() + 1);
        let (mut state, mut changed) = (self.now().clone(), false);
        for operation in &transaction.operations {
            match operation {
                Operation::Put { key, value, lease } => {
                    if lease.is_some_and(|lease| !self.leases.contains(&lease)) {
                        return None;
                    }
                    let old = state.get(key);
                    let pair = Pair {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: old.map_or(revision, |old| old.create_revision),
                        mod_revision: revision,
                        version: old.map_or(1, |old| old.version + 1),
                        lease: *lease,
                    };
                    state.insert(key.clone(), pair);
                    changed = true;
                }
                Operation::Delete { key } => changed |= state.remove(key).is_some(),
                Operation::DeletePrefix { prefix } => {
                    let before = state.len();
                    state.retain(|key, _| !key.starts_with(prefix.as_str()));
                    changed |= state.len() < before;
                }
            }
        }
        if changed {
            self.states.insert(revision, state);
        }
        Some(Outcome::Committed { revision: self.revision() })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let pair = compare.key().and_then(|key| self.now().get(key));
        match compare {
            Compare::Exists { .. } => pair.is_some(),
            Compare::Absent { .. } => pair.is_none(),
            Compare::ModRevision { revision, .. } => pair.is_some_and(|pair| pair.mod_revision == *revision),
            Compare::CreateRevision { revision, .. } => pair.is_some_and(|pair| pair.create_revision == *revision),
            Compare::Version { version, .. } => pair.is_some_and(|pair| pair.version == *version),
            Compare::Value { value, .. } => pair.is_some_and(|pair| pair.value == *value),
            Compare::Epoch { epoch } => *epoch == self.epoch,
        }
    }

    pub fn end_lease(&mut self, lease: LeaseId) {
        self.leases.retain(|held| *held != lease);
        let mut state = self.now().clone();
        state.retain(|_, pair| pair.lease != Some(lease));
        if state.len() < self.now().len() {
            self.states.insert(Revision::new(self.revision().number() + 1), state);
        }
    }

    pub fn compact(&mut self, revision: Revision) {
        self.compacted = revision;
    }

    /// The next changes in a folder after a revision.
    pub fn changes_after(&self, revision: Revision, prefix: &str) -> Option<Changes> {
        self.states.range(Revision::new(revision.number() + 1)..).find_map(|(revision, _)| {
            let mut changes = self.changes(*revision);
            changes.events.retain(|event| event.key().starts_with(prefix));
            (!changes.events.is_empty()).then_some(changes)
        })
    }

    /// What the transaction of a revision changed.
    pub fn changes(&self, revision: Revision) -> Changes {
        let after = &self.states[&revision];
        let before = self.states.range(..revision).next_back().unwrap().1;
        let mut events: Vec<Event> = after
            .values()
            .filter(|pair| pair.mod_revision == revision)
            .map(|pair| {
                let previous = before.get(&pair.key).map(|old| old.mod_revision);
                Event { previous, change: Change::Put(pair.clone()) }
            })
            .collect();
        events.extend(
            before
                .values()
                .filter(|old| !after.contains_key(&old.key))
                .map(|old| Event { previous: Some(old.mod_revision), change: Change::Delete { key: old.key.clone() } }),
        );
        events.sort_by(|a, b| a.key().cmp(b.key()));
        Changes { revision, events }
    }
}
