//! Who owns a VM, and how far its run is.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{Ref, Vm};
use crate::objects::beside_of;

/// The owner of a VM: the host that runs it. It is kept beside the record of the VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Owner {
    /// The host; `None` while the VM is halted or suspended.
    pub(crate) host: Option<Uuid>,
    /// Grows by one with each start.
    pub(crate) epoch: u64,
    /// How far it is.
    pub(crate) phase: Phase,
    /// The boot of the host on which it was started.
    pub(crate) boot: String,
    /// When it was started, in milliseconds since that boot.
    pub(crate) started: u64,
    /// The number of the last event of the worker of which the power state in the records knows.
    pub(crate) seen: u64,
    /// The number of the last event of the worker that was told, if it was worth a message.
    pub(crate) told: u64,
    /// Whether the VM is to be started again after a crash, which survives the end of a service that was about to do so.
    pub(crate) restart: bool,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// It does not run.
    #[default]
    None,
    /// Its worker is being made.
    Starting,
    /// It runs, or is paused.
    Running,
}

impl Owner {
    /// The next run, on `host`.
    pub(crate) fn claim(&self, host: Uuid, boot: &str) -> Self {
        let phase = Phase::Starting;
        Self {
            host: Some(host),
            epoch: self.epoch + 1,
            phase,
            boot: boot.to_owned(),
            started: 0,
            seen: 0,
            told: 0,
            restart: self.restart,
        }
    }

    /// The end of this run.
    pub(crate) fn release(&self) -> Self {
        Self { host: None, phase: Phase::None, ..self.clone() }
    }

    /// Where it is kept.
    pub(crate) fn key(vm: Ref<Vm>) -> String {
        beside_of(vm, "owner")
    }
}
