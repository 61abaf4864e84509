//! What a worker answers.

use serde::{Deserialize, Serialize};

use super::{Json, Versions};
use crate::Error;

/// The reply to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The number of the request; 0 if it had none that could be read.
    pub id: u64,
    /// The outcome.
    pub outcome: Outcome,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done(Answer),
    /// It failed.
    Failed(Error),
}

/// What a request returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// Nothing but that it was done.
    Nothing,
    /// The answer to [`Hello`](super::Request::Hello).
    Welcome {
        /// The version that both sides speak from now on.
        version: u32,
        /// The features that both have.
        features: Vec<String>,
        /// The version of the worker's program.
        worker: String,
    },
    /// The position of a device that was plugged in.
    Position(u64),
    /// What a suspend, a resume or a hand-over reports (`xvirt_core::vm::SuspendReport`, `xvirt_core::vm::ResumeReport`,
    /// `xvirt_core::migrate::MigrationSummary`).
    Report(Json),
    /// `xvirt_core::vm::Statistics`.
    Statistics(Json),
    /// The answer to [`Describe`](super::Request::Describe).
    Description(Box<Description>),
}

/// What a worker is, and the VM that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The version of the worker's program.
    pub worker: String,
    /// The versions of the protocol that it speaks.
    pub versions: Versions,
    /// The UUID of its VM; `None` if it has not built one yet.
    #[serde(default)]
    pub vm: Option<String>,
    /// The name of its VM.
    #[serde(default)]
    pub name: Option<String>,
    /// The power state of its VM, such as `running`.
    #[serde(default)]
    pub power_state: Option<String>,
    /// The epoch of the VM's owner.
    #[serde(default)]
    pub owner_epoch: Option<u64>,
    /// The configuration that builds the VM as it is now (`xvirt_core::config::VmConfig`), with the paths and names that
    /// it was built with.
    #[serde(default)]
    pub config: Option<Json>,
    /// The positions of the disks, in the order of the configuration.
    #[serde(default)]
    pub disk_positions: Vec<u64>,
    /// The positions of the network interfaces, in the order of the configuration.
    #[serde(default)]
    pub nic_positions: Vec<u64>,
    /// The sequence number of the VM's last event.
    #[serde(default)]
    pub last_event: u64,
    /// The walls of the sandbox that do not stand, with the reasons.
    #[serde(default)]
    pub missing_walls: Vec<MissingWall>,
}

/// A wall of the sandbox that does not stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingWall {
    /// The name of the wall, as in [`Wall::name`](crate::Wall::name).
    pub wall: String,
    /// Why it does not stand.
    pub reason: String,
}

/// One event in a stream of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFrame {
    /// Its sequence number. A number that is not the one after the last means that events are missing.
    pub sequence: u64,
    /// The event (`xvirt_core::vm::EventRecord`).
    pub record: Json,
}
