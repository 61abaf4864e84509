//! The messages and their bodies.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::frame::{PAGES_PREFIX, broken, frame};
use crate::state::{MemoryRange, PAGE};
use crate::{Error, ErrorKind, Result};

/// The feature of a local hand-over: memory is not sent, but the source passes the descriptors of the files that hold it.
pub(super) const LOCAL_HAND_OVER: u64 = 1 << 0;
/// The features that this version can use, as bits of [`Hello`].
pub(super) const FEATURES: u64 = LOCAL_HAND_OVER;
/// The most pages in one message.
pub(super) const MAX_PAGES: usize = 64;
/// The most runs of zero pages in one message.
pub(super) const MAX_RUNS: usize = 4096;

/// The kinds of message. The numbers are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Both sides, first on each connection: [`Hello`].
    Hello = 1,
    /// Source: [`Offer`].
    Offer = 2,
    /// Target: it takes the VM. No body.
    Accepted = 3,
    /// Target: it does not take the VM: [`Reasons`].
    Refused = 4,
    /// Source: the number of a page, and its bytes and those of the pages that follow it.
    Pages = 5,
    /// Source: runs of pages that are all zeroes, each as first number and count of 8 bytes.
    ZeroPages = 6,
    /// Source: [`EndOfRound`].
    EndOfRound = 7,
    /// Source: the disks are free: the state of the machine.
    Released = 8,
    /// Target: the disks are locked and open, and the state is loaded: [`Prepared`].
    Prepared = 9,
    /// Source: the target may run the guest. No body.
    Commit = 10,
    /// Target: the guest runs. No body.
    Committed = 11,
    /// Both sides: the migration ended, and the guest does not run at the target: [`Reasons`].
    Aborted = 12,
    /// Source, after the offer, in a local hand-over: [`MemoryFiles`], with a descriptor for each.
    Memory = 13,
}

impl Kind {
    /// All kinds.
    pub(super) const ALL: [Self; 13] = [
        Self::Hello,
        Self::Offer,
        Self::Accepted,
        Self::Refused,
        Self::Pages,
        Self::ZeroPages,
        Self::EndOfRound,
        Self::Released,
        Self::Prepared,
        Self::Commit,
        Self::Committed,
        Self::Aborted,
        Self::Memory,
    ];

    /// The kind with a number of the protocol.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The longest body in bytes.
    pub(super) fn limit(self) -> usize {
        match self {
            Self::Hello | Self::EndOfRound | Self::Prepared | Self::Memory => 1 << 10,
            Self::Accepted | Self::Commit | Self::Committed => 64,
            Self::Offer => 16 << 20,
            Self::Refused | Self::Aborted => 256 << 10,
            Self::Pages => PAGES_PREFIX + MAX_PAGES * PAGE,
            Self::ZeroPages => MAX_RUNS * 16,
            Self::Released => 256 << 20,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The first message on each connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The same on all connections of one migration.
    pub(super) migration: Uuid,
    /// The number of this connection, from 0.
    pub(super) connection: u8,
    /// How many connections the migration has, from 1 to 16.
    pub(super) connections: u8,
    /// Bits: the features that the source offers, and those of them that the target chooses.
    #[serde(default)]
    pub(super) features: u64,
}

/// What the source offers to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// The VM's UUID.
    pub(crate) uuid: Uuid,
    /// Its name.
    pub(crate) name: String,
    /// Its configuration as JSON.
    pub(crate) configuration: String,
    /// Its memory. Pages are numbered over all ranges, in this order.
    pub(crate) memory: Vec<MemoryRange>,
    /// What it requires of the target, for the target's own check.
    #[serde(with = "serde_bytes")]
    pub(crate) requirements: Vec<u8>,
    /// The version of xvirt at the source.
    pub(crate) version: String,
    /// The source only asks whether the target would take the VM. The migration ends with the answer.
    #[serde(default)]
    pub(crate) check: bool,
}

/// Where the memory is in the files whose descriptors come with this message: one for each range of [`Offer::memory`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemoryFiles {
    /// The offsets at which the ranges begin, in bytes.
    pub(super) offsets: Vec<u64>,
}

/// Why a side refuses or fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reasons {
    pub(super) reasons: Vec<String>,
}

/// The end of a round on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EndOfRound {
    /// The number of the round, from 0.
    pub(super) round: u32,
    /// How many pages were sent over this connection in the round, with those of zeroes.
    pub(super) pages: u64,
    /// No more pages follow on this connection.
    pub(super) last: bool,
}

/// The target is ready to run the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prepared {
    /// How long it took to open the disks and to load the state, in microseconds.
    pub(super) load_us: u64,
}

/// A frame with a MessagePack body.
pub(super) fn encode<T: Serialize>(kind: Kind, body: &T) -> Result<Vec<u8>> {
    let body = rmp_serde::to_vec_named(body)
        .map_err(|e| Error::new(ErrorKind::InvalidConfig, format!("cannot encode '{kind}'")).because(e))?;
    encode_bytes(kind, &body)
}

/// A frame with a body of bytes.
pub(super) fn encode_bytes(kind: Kind, body: &[u8]) -> Result<Vec<u8>> {
    if body.len() > kind.limit() {
        let what = format!("'{kind}' would take {} bytes, and {} is the limit", body.len(), kind.limit());
        return Err(Error::new(ErrorKind::LimitExceeded, what));
    }
    Ok(frame(kind, body))
}

/// The body of a message of `kind`.
pub(super) fn decode<T: DeserializeOwned>(kind: Kind, body: &[u8]) -> Result<T> {
    rmp_serde::from_slice(body)
        .map_err(|e| broken(format!("the peer sent a '{kind}' that cannot be decoded")).because(e))
}

/// The reasons of the peer as one text without control characters, because they may be shown in a terminal.
pub(super) fn reasons(kind: Kind, body: &[u8]) -> String {
    let Ok(Reasons { reasons }) = decode(kind, body) else { return "it sent no readable reason".to_owned() };
    reasons.join("; ").chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
