//! The verbs in progress, which can be queried meanwhile: XenServer's `current_operations`.
//!
//! A verb waits for the VM's operation lock, and is listed from then until it returns. A verb that waits for the guest releases
//! the lock meanwhile and stays listed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::handle::{Power, Vm};
use super::state::Verb;
use crate::Result;
use crate::sync::lock;

/// A verb in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Operation {
    /// The verb.
    pub verb: Verb,
    /// When it began, after waiting for its turn.
    pub since: SystemTime,
}

/// The verbs in progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Operations(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    /// In the order in which they began.
    operations: BTreeMap<u64, Operation>,
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
        listed.operations.insert(number, Operation { verb, since: SystemTime::now() });
        InProgress { operations: self.clone(), number }
    }

    fn list(&self) -> Vec<Operation> {
        lock(&self.0).operations.values().cloned().collect()
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        lock(&self.operations.0).operations.remove(&self.number);
    }
}

impl Vm {
    /// The verbs that are in progress, in the order in which they began. Does not wait for them.
    pub fn current_operations(&self) -> Vec<Operation> {
        self.require_process().map_or_else(|_| Vec::new(), |()| self.inner.operations.list())
    }

    /// The verbs that would begin at once: those that the power state allows, and none while another verb changes the VM. A
    /// verb that is called all the same waits for its turn first. Does not wait itself.
    pub fn allowed_operations(&self) -> Vec<Verb> {
        if self.current_operations().iter().any(|operation| !operation.verb.waits_for_guest()) {
            return Vec::new();
        }
        let state = self.power_state();
        Verb::all().filter(|verb| verb.legal_states().contains(&state)).collect()
    }

    /// Waits for the operation lock and lists `verb` as in progress.
    ///
    /// # Errors
    /// The power state that the VM has then does not allow the verb, or this process is not the VM's.
    pub(super) fn begin(&self, verb: Verb) -> Result<(MutexGuard<'_, Power>, InProgress)> {
        self.list(self.lock()?, verb)
    }

    /// Checks whether the VM's state still allows `verb`, after it has waited in vain and whatever ended the guest is over.
    pub(super) fn still_allows(&self, verb: Verb) -> Result<()> {
        let _turn = self.lock()?;
        verb.check(self.name(), self.inner.live().state)
    }

    /// As [`begin`](Self::begin), once the supervisor of a run that the guest ended is gone.
    pub(super) fn begin_alone(&self, verb: Verb) -> Result<(MutexGuard<'_, Power>, InProgress)> {
        self.require_process()?;
        self.list(self.inner.lock_alone(), verb)
    }

    /// Lists `verb`, whose turn it is, if the VM's state allows it.
    fn list<'a>(&self, power: MutexGuard<'a, Power>, verb: Verb) -> Result<(MutexGuard<'a, Power>, InProgress)> {
        verb.check(self.name(), self.inner.live().state)?;
        Ok((power, self.inner.operations.begin(verb)))
    }
}
