//! The record that a worker leaves of its end.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use crate::error::kind;
use crate::{Error, Result};

/// The most bytes of a record.
const MAX_RECORD: u64 = 64 << 10;

/// How and when a worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExitRecord {
    /// The UUID of its VM, if it had built one.
    #[serde(default)]
    pub vm: Option<String>,
    /// Why it ended.
    pub cause: Cause,
    /// When it ended, in milliseconds since 1970; 0 if it died of a signal: then the time of the file says it.
    #[serde(default)]
    pub time: u64,
}

/// Why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The guest powered off.
    GuestShutdown,
    /// The VM was powered off by request.
    HardShutdown,
    /// The VM was suspended: its state is in the file that the request named.
    Suspended,
    /// The VM runs elsewhere.
    Migrated,
    /// The guest crashed, or something it needs on the host failed.
    Crashed {
        /// The reason, as text.
        reason: String,
    },
    /// The VM could not be built.
    BuildFailed {
        /// The error.
        error: Error,
    },
    /// The worker was asked to end ([`Request::End`](crate::protocol::Request::End)).
    Requested,
    /// The worker could not begin: its arguments or its sandbox are not what they must be.
    NotStarted {
        /// The error.
        error: Error,
    },
    /// A fault of the worker's program.
    Panicked {
        /// What it said.
        message: String,
    },
    /// A fatal signal other than `SIGKILL`.
    Signal {
        /// Its number.
        number: i32,
    },
}

/// What is known of the end of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What it recorded.
    Recorded(ExitRecord),
    /// The worker died without saying why: it was killed (`SIGKILL`, the OOM killer), or the host failed.
    Unrecorded,
}

impl ExitRecord {
    /// A record of now.
    pub fn new(vm: Option<String>, cause: Cause) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { vm, cause, time: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Reads the record of a worker that has ended; a record of a running worker is empty.
    ///
    /// # Errors
    /// [`kind::DAMAGED`] if it is something else; or it cannot be read.
    pub fn read(file: &File) -> Result<Exit> {
        let cannot = |error: io::Error| Error::io("cannot read an exit record", &error);
        let mut bytes = Vec::new();
        let mut reader = file.try_clone().map_err(cannot)?;
        reader.rewind().map_err(cannot)?;
        reader.take(MAX_RECORD).read_to_end(&mut bytes).map_err(cannot)?;
        Self::parse(&bytes)
    }

    /// Reads the bytes of a record, which are not trusted.
    ///
    /// # Errors
    /// [`kind::DAMAGED`] if they are not a record.
    pub fn parse(bytes: &[u8]) -> Result<Exit> {
        if bytes.is_empty() {
            return Ok(Exit::Unrecorded);
        }
        serde_json::from_slice(bytes).map(Exit::Recorded).map_err(|e| {
            Error::new(kind::DAMAGED, format!("this is not an exit record: {e}"))
                .with_remedy("take it for a worker that died without saying why")
        })
    }

    /// Writes the record, in place of an earlier one, to stable storage.
    ///
    /// # Errors
    /// The file system is full, or another failure.
    pub fn write(&self, file: &File) -> io::Result<()> {
        let bytes = serde_json::to_vec(self)?;
        file.write_all_at(&bytes, 0)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_is_read_and_an_empty_one_says_nothing() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(ExitRecord::read(&file).unwrap(), Exit::Unrecorded);
        let long = ExitRecord::new(Some("a".into()), Cause::Panicked { message: "x".repeat(100) });
        long.write(&file).unwrap();
        let last = ExitRecord::new(Some("a".into()), Cause::GuestShutdown);
        last.write(&file).unwrap();
        assert_eq!(ExitRecord::read(&file).unwrap(), Exit::Recorded(last));
    }

    #[test]
    fn what_is_no_record_is_damaged() {
        for bytes in [&b"{"[..], b"[]", b"{\"cause\":\"unheard\"}", b"\0\0\0"] {
            assert_eq!(ExitRecord::parse(bytes).unwrap_err().kind(), kind::DAMAGED);
        }
    }
}
