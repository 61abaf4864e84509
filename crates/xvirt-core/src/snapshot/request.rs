//! Describes a snapshot to be taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::repository::{StoredVm, check_name};
use crate::vm::{CheckpointMethod, Vm};

/// Name and options of a new snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NewSnapshot {
    /// The name.
    pub name: String,
    /// The description for users.
    #[serde(default)]
    pub description: String,
    /// Freezes the file systems of a running guest through its agent, for at most this long.
    #[serde(default)]
    pub quiesce: Option<Duration>,
    /// How a checkpoint saves the memory of a running guest.
    #[serde(default)]
    pub method: CheckpointMethod,
    /// Whether a checkpoint has only the memory that has changed since the last one that was taken with this.
    #[serde(default)]
    pub incremental: bool,
}

impl NewSnapshot {
    /// A snapshot with this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            quiesce: None,
            method: CheckpointMethod::Auto,
            incremental: false,
        }
    }

    /// Sets the description for users.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Freezes the file systems of a running guest through its agent meanwhile, so that they are clean in the snapshot:
    /// XenServer's `snapshot_with_quiesce`. They are frozen for `limit` at most; a snapshot that takes longer fails.
    /// Without this, they are in the state after a power failure. It has no effect on a checkpoint or a halted VM.
    #[must_use]
    pub fn quiesce(mut self, limit: Duration) -> Self {
        self.quiesce = Some(limit);
        self
    }

    /// Sets how a checkpoint saves the memory of a running guest. It has no effect on one that is paused, which can wait, or
    /// suspended, whose memory is saved already.
    #[must_use]
    pub fn method(mut self, method: CheckpointMethod) -> Self {
        self.method = method;
        self
    }

    /// Lets a checkpoint have only the memory that has changed since the last one that was taken with this. It has no
    /// effect on a suspended VM, whose memory is saved already.
    ///
    /// From the first one on, all writes to memory are tracked until the VM is no longer in memory or
    /// [`Vm::stop_tracking`]. The host then maps the guest's memory in pages of 4 KiB only, and each first write to one
    /// leaves the guest: one that uses much memory becomes noticeably slower.
    ///
    /// It has all memory if there is no such checkpoint: it was removed, the VM was not in memory all the time since, a
    /// migration or a checkpoint [in rounds](CheckpointMethod::Rounds) that is not incremental has tracked writes for
    /// itself (also one that a template with memory or a fork took, of a VM that was resumed
    /// [lazily](crate::vm::MemoryLoading::Lazy)), or it is based on 16 others.
    /// [`CheckpointReport::full_because`](crate::vm::CheckpointReport::full_because) says so.
    ///
    /// The checkpoints on which it is based can be removed; their memory stays on the host as long as it is needed.
    #[must_use]
    pub fn incremental(mut self, incremental: bool) -> Self {
        self.incremental = incremental;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        check_name("snapshot", &self.name)
    }
}

impl From<&str> for NewSnapshot {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for NewSnapshot {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// The VM of which a snapshot is taken.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Subject<'a> {
    /// A VM of the repository that is halted or suspended.
    Stored(&'a StoredVm),
    /// A VM of the repository in any state, which lists the snapshot in its
    /// [`current_operations`](Vm::current_operations). Its other verbs wait meanwhile, so the progress observer must
    /// not call any.
    Vm(&'a Vm),
}

impl<'a> From<&'a StoredVm> for Subject<'a> {
    fn from(vm: &'a StoredVm) -> Self {
        Self::Stored(vm)
    }
}

impl<'a> From<&'a Vm> for Subject<'a> {
    fn from(vm: &'a Vm) -> Self {
        Self::Vm(vm)
    }
}
