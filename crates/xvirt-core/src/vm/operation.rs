//! The verbs in progress, which can be queried meanwhile: XenServer's `current_operations`.
//!
//! A verb waits for the VM's operation lock, and is listed from then until it returns. A verb that waits for the guest,
//! or that reads disks which the guest may write meanwhile, releases the lock and stays listed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::handle::{Power, Vm};
use super::state::Verb;
use crate::progress::{Done, Progress};
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// A verb in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Operation {
    /// The verb.
    pub verb: Verb,
    /// When it began, after it waited for its turn.
    pub since: SystemTime,
    /// Its progress, if it reports any. The count may restart with each step of an operation, such as a disk.
    #[serde(default)]
    pub done: Option<Done>,
}

#[derive(Debug)]
struct Entry {
    operation: Operation,
    /// Whether other verbs wait for it.
    exclusive: bool,
}

/// The verbs in progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Operations(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    /// In the order in which they began.
    operations: BTreeMap<u64, Entry>,
    began: u64,
}

/// Keeps a verb listed until it is dropped.
#[derive(Debug)]
pub(super) struct InProgress {
    operations: Operations,
    number: u64,
}

impl Operations {
    fn begin(&self, verb: Verb) -> InProgress {
        let mut listed = lock(&self.0);
        listed.began += 1;
        let number = listed.began;
        let operation = Operation { verb, since: SystemTime::now(), done: None };
        listed.operations.insert(number, Entry { operation, exclusive: !verb.waits_for_guest() });
        InProgress { operations: self.clone(), number }
    }

    fn list(&self) -> Vec<Operation> {
        lock(&self.0).operations.values().map(|entry| entry.operation.clone()).collect()
    }

    fn contains(&self, verb: Verb) -> bool {
        lock(&self.0).operations.values().any(|entry| entry.operation.verb == verb)
    }

    fn is_exclusive(&self) -> bool {
        lock(&self.0).operations.values().any(|entry| entry.exclusive)
    }
}

impl InProgress {
    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = lock(&self.operations.0).operations.get_mut(&self.number) {
            change(entry);
        }
    }
}

/// A long verb that is implemented outside this folder. It stays listed until this is dropped.
pub(crate) struct LongOperation<'a> {
    // Fields are dropped in this order, so that the next owner of the lock does not see it listed.
    listed: InProgress,
    lock: Option<MutexGuard<'a, Power>>,
}

impl<'a> LongOperation<'a> {
    /// Lets other verbs run from now on.
    pub(crate) fn release(&mut self) {
        self.listed.change(|entry| entry.exclusive = false);
        self.lock = None;
    }

    /// The operation lock, for a verb that halts the VM. The verb stays listed.
    pub(super) fn take_lock(&mut self) -> Option<MutexGuard<'a, Power>> {
        self.lock.take()
    }

    /// What the holder of the operation lock may change; `None` after [`release`](Self::release).
    pub(super) fn power(&self) -> Option<&Power> {
        self.lock.as_deref()
    }

    /// An observer that records the progress in the list, and passes it on to `observer`.
    pub(crate) fn progress<'b>(&'b self, observer: &'b dyn Progress) -> impl Progress + 'b {
        Recorded { listed: &self.listed, observer }
    }
}

struct Recorded<'a> {
    listed: &'a InProgress,
    observer: &'a dyn Progress,
}

impl Progress for Recorded<'_> {
    fn report(&self, done: Done) {
        self.listed.change(|entry| entry.operation.done = Some(done));
        self.observer.report(done);
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        lock(&self.operations.0).operations.remove(&self.number);
    }
}

impl Vm {
    /// The verbs in progress, in the order in which they began. Does not wait for them.
    pub fn current_operations(&self) -> Vec<Operation> {
        self.require_process().map_or_else(|_| Vec::new(), |()| self.inner.operations.list())
    }

    /// The verbs that would begin immediately: those that the power state allows, or none while another verb changes
    /// the VM. Any other verb waits for its turn first. Does not wait itself.
    pub fn allowed_operations(&self) -> Vec<Verb> {
        if self.require_process().is_ok() && self.inner.operations.is_exclusive() {
            return Vec::new();
        }
        Verb::all().filter(|verb| self.check(*verb).is_ok()).collect()
    }

    /// Waits for the operation lock and lists `verb` as in progress.
    ///
    /// # Errors
    /// The VM's power state does not allow the verb, or this process did not create the VM.
    pub(super) fn begin(&self, verb: Verb) -> Result<(MutexGuard<'_, Power>, InProgress)> {
        self.list(self.lock()?, verb)
    }

    /// Like [`begin`](Self::begin), for a verb that is implemented outside this folder.
    pub(crate) fn begin_long(&self, verb: Verb) -> Result<LongOperation<'_>> {
        let (lock, listed) = self.begin(verb)?;
        Ok(LongOperation { listed, lock: Some(lock) })
    }

    /// Checks whether the VM's state still allows `verb`, after a wait that failed and after any ongoing teardown has
    /// ended.
    pub(super) fn still_allows(&self, verb: Verb) -> Result<()> {
        let _turn = self.lock()?;
        self.check(verb)
    }

    /// Checks whether the VM's state allows `verb`, which only lasts while the caller holds the operation lock.
    pub(super) fn check(&self, verb: Verb) -> Result<()> {
        let live = self.inner.live();
        match verb.check(self.name(), live.state) {
            Ok(()) if verb.waits_for_decision() => live.require_decided(self.name()),
            Err(_) if live.was_migrated() => Err(self.was_migrated(verb)),
            checked => checked,
        }
    }

    /// The error of a verb that comes too late for a VM that runs elsewhere.
    pub(super) fn was_migrated(&self, verb: Verb) -> Error {
        let what = format!("cannot {verb} VM '{}': it was migrated, and is halted here", self.name());
        Error::new(ErrorKind::InvalidState, what).with_remedy("call this at the target of the migration, where it runs")
    }

    /// Fails if one of `verbs` is in progress, which would be lost if `verb` began now. The caller holds the operation
    /// lock.
    pub(super) fn require_none_of(&self, verbs: &[Verb], verb: Verb) -> Result<()> {
        let Some(other) = verbs.iter().find(|other| self.inner.operations.contains(**other)) else { return Ok(()) };
        let what = format!("cannot {verb} VM '{}' while another thread waits to {other} it", self.name());
        Err(Error::new(ErrorKind::Busy, what).with_remedy("wait until that has ended"))
    }

    /// Like [`begin`](Self::begin), after the supervisor of a run that the guest ended has been joined.
    pub(super) fn begin_alone(&self, verb: Verb) -> Result<(MutexGuard<'_, Power>, InProgress)> {
        self.list(self.lock_alone()?, verb)
    }

    /// Lists `verb`, whose turn has come, if the VM's state allows it.
    fn list<'a>(&self, power: MutexGuard<'a, Power>, verb: Verb) -> Result<(MutexGuard<'a, Power>, InProgress)> {
        self.check(verb)?;
        Ok((power, self.inner.operations.begin(verb)))
    }
}
