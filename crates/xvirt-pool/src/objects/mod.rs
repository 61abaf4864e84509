//! The objects of the pool in the store: reading them, and changing several at once.
//!
//! The record of an object is at `/CLASS/UUID/record`; what xvirt keeps beside it is next to that. `derived` writes what
//! follows from a change, `object` tells which object a key is about.

mod derived;
mod object;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::clock::HostClock;
use crate::model::{Class, ClassTable, DateTime, Record, Ref};
use crate::operation::{Failure, codes};
use crate::store::{Compare, Decision, Operation, Outcome, Revision, Store, Transaction};
use crate::sync::lock;

pub(crate) use derived::companion;
pub(crate) use object::{Object, class_number};

/// How many pairs a page has.
const PAGE: usize = 500;
/// How often a change is decided anew because somebody else was faster.
const ATTEMPTS: usize = 200;
/// How many revisions of the past are kept, and how often older ones are forgotten.
const KEPT: u64 = 10_000;
const COMPACT_EVERY: u64 = 1_000;
/// How many changes may be committed at once.
const GUARDS: usize = 8;

/// The objects in a store.
#[derive(Debug)]
pub(crate) struct Objects {
    store: Arc<dyn Store>,
    clock: Arc<dyn HostClock>,
    guards: Vec<Guard>,
    next_guard: AtomicUsize,
    /// Held by who decides anew, so that many who change the same record do not disturb each other again and again.
    contended: Mutex<()>,
}

/// A pair that only this service writes, once with each change. After an unknown outcome it decides whether the change was
/// committed: see [`Store::supersede`].
#[derive(Debug)]
struct Guard {
    key: String,
    /// `None` if it must be read again.
    revision: Mutex<Option<Revision>>,
}

/// What a store has under a key.
type Found = Option<(Vec<u8>, Revision)>;

impl Objects {
    /// The objects in `store`, as the host with this UUID and this clock changes them.
    pub(crate) fn new(store: Arc<dyn Store>, host: Uuid, clock: Arc<dyn HostClock>) -> Self {
        let guard = |number| Guard { key: format!("/host/{host}/guard/{number}"), revision: Mutex::default() };
        let guards = (0..GUARDS).map(guard).collect();
        Self { store, clock, guards, next_guard: AtomicUsize::new(0), contended: Mutex::default() }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The record of an object.
    ///
    /// # Errors
    /// `HANDLE_INVALID` if there is none.
    pub(crate) fn get<R: Record>(&self, reference: Ref<R>) -> Result<R, Failure> {
        let Some(uuid) = reference.uuid() else { return Err(codes::handle_invalid(R::TABLE.name, reference)) };
        let value = self.value(R::TABLE, uuid)?;
        Ok(R::from_value(value.ok_or_else(|| codes::handle_invalid(R::TABLE.name, reference))?)?)
    }

    /// The record of an object as JSON, if there is one.
    pub(crate) fn value(&self, table: &ClassTable, uuid: Uuid) -> Result<Option<Value>, Failure> {
        let pair = self.store.get(&record_key(table, uuid), None)?;
        pair.map(|pair| parse(&pair.key, &pair.value)).transpose()
    }

    /// The record that an object had at a revision, as JSON.
    pub(crate) fn value_at(&self, table: &ClassTable, uuid: Uuid, at: Revision) -> Result<Option<Value>, Failure> {
        let pair = self.store.get(&record_key(table, uuid), Some(at))?;
        pair.map(|pair| parse(&pair.key, &pair.value)).transpose()
    }

    /// What is kept under a key beside the records.
    pub(crate) fn beside<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Failure> {
        let pair = self.store.get(key, None)?;
        pair.map(|pair| parse(&pair.key, &pair.value)).transpose()
    }

    /// All objects of a class.
    pub(crate) fn all<R: Record>(&self) -> Result<Vec<(Ref<R>, R)>, Failure> {
        let values = self.values(R::TABLE)?;
        values.into_iter().map(|(uuid, value)| Ok((Ref::new(uuid), R::from_value(value)?))).collect()
    }

    /// The records of all objects of a class as JSON, read at one revision.
    pub(crate) fn values(&self, table: &ClassTable) -> Result<Vec<(Uuid, Value)>, Failure> {
        self.values_at(table, None)
    }

    /// The records that the objects of a class have now, or had at a revision.
    pub(crate) fn values_at(&self, table: &ClassTable, at: Option<Revision>) -> Result<Vec<(Uuid, Value)>, Failure> {
        let prefix = folder(table);
        let uuid = |key: &str| Uuid::try_parse(key.strip_prefix(&prefix)?.strip_suffix("/record")?).ok();
        self.range(&prefix, uuid, at)
    }

    /// What is kept in a folder beside the records.
    pub(crate) fn besides<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>, Failure> {
        self.range(prefix, |key| Some(key.to_owned()), None)
    }

    /// The values of a folder whose keys have a name, read at one revision.
    fn range<N, T: DeserializeOwned>(
        &self,
        prefix: &str,
        name: impl Fn(&str) -> Option<N>,
        mut at: Option<Revision>,
    ) -> Result<Vec<(N, T)>, Failure> {
        let (mut from, mut found) = (None, Vec::new());
        loop {
            let page = self.store.range(prefix, from.as_deref(), PAGE, at)?;
            for pair in &page.pairs {
                if let Some(name) = name(&pair.key) {
                    found.push((name, parse(&pair.key, &pair.value)?));
                }
            }
            at = Some(page.cursor.revision);
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Reads, decides, and commits what was decided, all at once: if anything that was read has changed meanwhile, it is
    /// decided anew.
    ///
    /// # Errors
    /// What `decide` returns; or the store fails, and nothing was changed.
    pub(crate) fn change<T>(
        &self,
        mut decide: impl FnMut(&mut Change<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let now = DateTime::from_unix(self.clock.unix()).unwrap_or_default();
        let mut turn = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 && turn.is_none() {
                turn = Some(lock(&self.contended));
            }
            let mut change = Change { store: &*self.store, read: BTreeMap::new(), written: BTreeMap::new() };
            let decided = decide(&mut change).and_then(|decided| change.derive(now).map(|()| decided));
            let decided = match decided {
                Ok(decided) => decided,
                // Somebody may have changed one thing before and another after it was read.
                Err(_) if change.is_stale()? => continue,
                Err(failure) => return Err(failure),
            };
            if change.written.is_empty() || self.commit(change)? {
                return Ok(decided);
            }
        }
        Err(codes::internal(format!("others changed the same objects {ATTEMPTS} times meanwhile"))
            .with_remedy("try again"))
    }

    /// `false` if something that was read has changed.
    fn commit(&self, change: Change<'_>) -> Result<bool, Failure> {
        let count = self.guards.len().max(1);
        let Some(guard) = self.guards.get(self.next_guard.fetch_add(1, Ordering::Relaxed) % count) else {
            return Ok(false);
        };
        let mut known = lock(&guard.revision);
        let revision = match *known {
            Some(revision) => revision,
            None => self.read_guard(guard)?,
        };
        let guarded = |value: &str| {
            Transaction::new().compare(Compare::mod_revision(&guard.key, revision)).put(&guard.key, value)
        };
        let nonce = Uuid::new_v4().to_string();
        let mut transaction = guarded(&nonce);
        for (key, found) in change.read {
            transaction.compares.push(match found {
                Some((_, revision)) => Compare::mod_revision(key, revision),
                None => Compare::absent(key),
            });
        }
        transaction.operations.extend(change.written.into_iter().map(|(key, value)| match value {
            Some(value) => Operation::Put { key, value, lease: None },
            None => Operation::Delete { key },
        }));
        *known = None;
        match self.store.transaction(&transaction) {
            Ok(Outcome::Committed { revision }) => {
                *known = Some(revision);
                drop(known);
                self.compact(revision);
                return Ok(true);
            }
            Ok(Outcome::Conflict) => return Ok(false),
            Ok(Outcome::Unknown) => {}
            Err(error) => return Err(error.into()),
        }
        // Committed or not: another change of the guard decides it.
        for _ in 0..ATTEMPTS {
            match self.store.supersede(&transaction, &guarded(&Uuid::new_v4().to_string())) {
                Ok(Decision::Superseded { .. }) => return Ok(false),
                Ok(Decision::Settled { now }) => return Ok(now.is_some_and(|pair| pair.value == nonce.as_bytes())),
                Ok(Decision::Conflict | Decision::Unknown) | Err(_) => {}
            }
        }
        Err(codes::internal("the store does not say whether it has committed a change")
            .with_remedy("read the object to see whether it was changed"))
    }

    /// Forgets the past from time to time, but not what somebody who watches may be reading.
    fn compact(&self, revision: Revision) {
        let number = revision.number();
        if number.is_multiple_of(COMPACT_EVERY) && number > KEPT {
            // If it fails, the next one forgets more.
            let _ = self.store.compact(Revision::new(number - KEPT));
        }
    }

    fn read_guard(&self, guard: &Guard) -> Result<Revision, Failure> {
        for _ in 0..ATTEMPTS {
            if let Some(pair) = self.store.get(&guard.key, None)? {
                return Ok(pair.mod_revision);
            }
            let create = Transaction::new().compare(Compare::absent(&guard.key)).put(&guard.key, "");
            self.store.transaction(&create)?;
        }
        Err(codes::internal(format!("the store does not keep {}", guard.key)))
    }

    /// Writes every guard once, so that no change of an earlier service of this host can still be committed.
    pub(crate) fn supersede_earlier(&self) -> Result<(), Failure> {
        for guard in &self.guards {
            let mut settled = false;
            for _ in 0..ATTEMPTS {
                let revision = self.read_guard(guard)?;
                let mine = Transaction::new()
                    .compare(Compare::mod_revision(&guard.key, revision))
                    .put(&guard.key, Uuid::new_v4().to_string());
                if let Outcome::Committed { revision } = self.store.transaction(&mine)? {
                    *lock(&guard.revision) = Some(revision);
                    settled = true;
                    break;
                }
            }
            if !settled {
                return Err(codes::internal(format!("cannot write {}", guard.key)));
            }
        }
        Ok(())
    }
}

/// What is read and written in one transaction.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    store: &'a dyn Store,
    read: BTreeMap<String, Found>,
    written: BTreeMap<String, Option<Vec<u8>>>,
}

impl Change<'_> {
    /// Whether something that was read has changed since.
    fn is_stale(&self) -> Result<bool, Failure> {
        for (key, found) in &self.read {
            let now = self.store.get(key, None)?.map(|pair| pair.mod_revision);
            if now != found.as_ref().map(|(_, revision)| *revision) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The record of an object, with what this change has written.
    ///
    /// # Errors
    /// `HANDLE_INVALID` if there is none.
    pub(crate) fn get<R: Record>(&mut self, reference: Ref<R>) -> Result<R, Failure> {
        self.find(reference)?.ok_or_else(|| codes::handle_invalid(R::TABLE.name, reference))
    }

    /// The record of an object, if there is one.
    pub(crate) fn find<R: Record>(&mut self, reference: Ref<R>) -> Result<Option<R>, Failure> {
        let Some(uuid) = reference.uuid() else { return Ok(None) };
        let value = self.value(R::TABLE, uuid)?;
        Ok(value.map(R::from_value).transpose()?)
    }

    /// The record of an object as JSON, if there is one.
    pub(crate) fn value(&mut self, table: &ClassTable, uuid: Uuid) -> Result<Option<Value>, Failure> {
        self.beside(&record_key(table, uuid))
    }

    /// Writes a record.
    pub(crate) fn put<R: Record>(&mut self, reference: Ref<R>, record: &R) -> Result<(), Failure> {
        let Some(uuid) = reference.uuid() else { return Err(codes::handle_invalid(R::TABLE.name, reference)) };
        self.put_value(R::TABLE, uuid, &record.to_value()?)
    }

    /// Writes a record as JSON. One that was read and is the same is not written, which needs no room and is no event.
    pub(crate) fn put_value(&mut self, table: &ClassTable, uuid: Uuid, record: &Value) -> Result<(), Failure> {
        let key = record_key(table, uuid);
        let bytes = serialized(&key, record)?;
        let read = self.read.get(&key).and_then(Option::as_ref);
        if !self.written.contains_key(&key) && read.is_some_and(|(read, _)| *read == bytes) {
            return Ok(());
        }
        self.written.insert(key, Some(bytes));
        Ok(())
    }

    /// What is kept under a key beside the records.
    pub(crate) fn beside<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Failure> {
        if let Some(written) = self.written.get(key) {
            return written.as_ref().map(|value| parse(key, value)).transpose();
        }
        self.read(key)?;
        match self.read.get(key) {
            Some(Some((value, _))) => parse(key, value).map(Some),
            _ => Ok(None),
        }
    }

    /// Reads a key, unless it was read before.
    fn read(&mut self, key: &str) -> Result<(), Failure> {
        if !self.read.contains_key(key) {
            let found = self.store.get(key, None)?.map(|pair| (pair.value, pair.mod_revision));
            self.read.insert(key.to_owned(), found);
        }
        Ok(())
    }

    /// Writes something beside the records.
    pub(crate) fn put_beside(&mut self, key: &str, value: &impl Serialize) -> Result<(), Failure> {
        self.written.insert(key.to_owned(), Some(serialized(key, value)?));
        Ok(())
    }

    /// Removes an object.
    pub(crate) fn remove<R: Record>(&mut self, reference: Ref<R>) {
        if let Some(uuid) = reference.uuid() {
            self.remove_beside(&record_key(R::TABLE, uuid));
        }
    }

    /// Removes something beside the records.
    pub(crate) fn remove_beside(&mut self, key: &str) {
        self.written.insert(key.to_owned(), None);
    }
}

fn folder(table: &ClassTable) -> String {
    format!("/{}/", table.name.to_lowercase())
}

fn record_key(table: &ClassTable, uuid: Uuid) -> String {
    beside_key(table, uuid, "record")
}

/// The key of what is kept beside the record of an object.
pub(crate) fn beside_key(table: &ClassTable, uuid: Uuid, name: &str) -> String {
    format!("{}{uuid}/{name}", folder(table))
}

/// The key of what is kept beside the record that a reference means.
pub(crate) fn beside_of<C: Class>(reference: Ref<C>, name: &str) -> String {
    beside_key(C::TABLE, reference.uuid().unwrap_or_default(), name)
}

fn serialized(key: &str, value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| codes::internal(format!("cannot write {key}: {error}")))
}

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(value).map_err(|error| {
        codes::internal(format!("the state store has something unreadable under {key}: {error}"))
            .with_remedy("restore the store from a snapshot")
    })
}

#[cfg(all(test, feature = "simulation"))]
mod tests;
