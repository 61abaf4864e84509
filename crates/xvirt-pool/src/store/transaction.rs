//! Transactions: what they compare, what they do, and what may come of them.

use std::collections::BTreeSet;

use super::{LeaseId, Revision, key};
use crate::{Error, ErrorKind, Result};

/// The most operations of a transaction, and the most compares.
pub const MAX_OPERATIONS: usize = 100;

/// A transaction is smaller than this: 1 MiB of keys and values, and 64 bytes for each compare and operation.
pub const MAX_SIZE: usize = 1 << 20;

/// What each compare and operation takes beside its key and value.
const OVERHEAD: usize = 64;

/// A condition of a transaction. All but [`Absent`](Self::Absent) and [`Epoch`](Self::Epoch) are false for an absent key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key exists.
    Exists {
        /// The key.
        key: String,
    },
    /// The key does not exist.
    Absent {
        /// The key.
        key: String,
    },
    /// The value of the key was put by this revision, so nobody has changed it since.
    ModRevision {
        /// The key.
        key: String,
        /// The revision.
        revision: Revision,
    },
    /// The key was created by this revision.
    CreateRevision {
        /// The key.
        key: String,
        /// The revision.
        revision: Revision,
    },
    /// The key was put so often since it was created.
    Version {
        /// The key.
        key: String,
        /// The version.
        version: u64,
    },
    /// The key has this value.
    Value {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
    },
    /// The store is in this epoch. Needed with revisions that were read long ago or by others.
    Epoch {
        /// The epoch.
        epoch: u64,
    },
}

impl Compare {
    /// The key exists.
    pub fn exists(key: impl Into<String>) -> Self {
        Self::Exists { key: key.into() }
    }

    /// The key does not exist.
    pub fn absent(key: impl Into<String>) -> Self {
        Self::Absent { key: key.into() }
    }

    /// The value of the key was put by this revision.
    pub fn mod_revision(key: impl Into<String>, revision: Revision) -> Self {
        Self::ModRevision { key: key.into(), revision }
    }

    /// The key was created by this revision.
    pub fn create_revision(key: impl Into<String>, revision: Revision) -> Self {
        Self::CreateRevision { key: key.into(), revision }
    }

    /// The key was put so often since it was created.
    pub fn version(key: impl Into<String>, version: u64) -> Self {
        Self::Version { key: key.into(), version }
    }

    /// The key has this value.
    pub fn value(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::Value { key: key.into(), value: value.into() }
    }

    /// The store is in this epoch.
    pub fn epoch(epoch: u64) -> Self {
        Self::Epoch { epoch }
    }

    /// The key that is compared, unless it is the epoch.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Exists { key }
            | Self::Absent { key }
            | Self::ModRevision { key, .. }
            | Self::CreateRevision { key, .. }
            | Self::Version { key, .. }
            | Self::Value { key, .. } => Some(key),
            Self::Epoch { .. } => None,
        }
    }

    fn size(&self) -> usize {
        let value = if let Self::Value { value, .. } = self { value.len() } else { 0 };
        OVERHEAD + self.key().map_or(0, str::len) + value
    }
}

/// A change that a transaction makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets the value of a key, and its lease: without one, the pair no longer depends on any.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// The lease.
        lease: Option<LeaseId>,
    },
    /// Deletes a key; nothing happens if it does not exist.
    Delete {
        /// The key.
        key: String,
    },
    /// Deletes all keys of a folder and the folders in it.
    DeletePrefix {
        /// The folder, with a slash at its end.
        prefix: String,
    },
}

impl Operation {
    /// Whether this writes `key`.
    pub(crate) fn writes(&self, key: &str) -> bool {
        match self {
            Self::Put { key: written, .. } | Self::Delete { key: written } => written == key,
            Self::DeletePrefix { prefix } => key.starts_with(prefix.as_str()),
        }
    }

    fn size(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Put { key, value, .. } => key.len() + value.len(),
                Self::Delete { key } => key.len(),
                Self::DeletePrefix { prefix } => prefix.len(),
            }
    }
}

/// Compares, and operations that happen together if all of them hold.
///
/// Operations may not touch a key twice, so their order does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// What is done then.
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a compare.
    #[must_use]
    pub fn compare(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds an operation.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// Sets the value of a key.
    #[must_use]
    pub fn put(self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.operation(Operation::Put { key: key.into(), value: value.into(), lease: None })
    }

    /// Sets the value of a key, which is deleted with the end of the lease.
    #[must_use]
    pub fn put_with_lease(self, key: impl Into<String>, value: impl Into<Vec<u8>>, lease: LeaseId) -> Self {
        self.operation(Operation::Put { key: key.into(), value: value.into(), lease: Some(lease) })
    }

    /// Deletes a key.
    #[must_use]
    pub fn delete(self, key: impl Into<String>) -> Self {
        self.operation(Operation::Delete { key: key.into() })
    }

    /// Deletes a folder.
    #[must_use]
    pub fn delete_prefix(self, prefix: impl Into<String>) -> Self {
        self.operation(Operation::DeletePrefix { prefix: prefix.into() })
    }

    /// The bytes that count for [`MAX_SIZE`].
    pub fn size(&self) -> usize {
        let compares: usize = self.compares.iter().map(Compare::size).sum();
        compares + self.operations.iter().map(Operation::size).sum::<usize>()
    }

    /// Checks what every engine refuses before anything happens.
    pub(crate) fn check(&self) -> Result<()> {
        for (count, what) in [(self.compares.len(), "compares"), (self.operations.len(), "operations")] {
            if count > MAX_OPERATIONS {
                let what = format!("a transaction has {count} {what}; the most are {MAX_OPERATIONS}");
                return Err(Error::new(ErrorKind::LimitExceeded, what).with_remedy("divide it"));
            }
        }
        if self.size() >= MAX_SIZE {
            let what = format!("a transaction has {} bytes; it must be below {MAX_SIZE}", self.size());
            return Err(Error::new(ErrorKind::LimitExceeded, what).with_remedy("divide it, or store less in a value"));
        }
        self.compares.iter().filter_map(Compare::key).try_for_each(key::check)?;
        self.check_operations()
    }

    fn check_operations(&self) -> Result<()> {
        let mut keys = BTreeSet::new();
        let mut prefixes: Vec<&str> = Vec::new();
        for operation in &self.operations {
            match operation {
                Operation::Put { key, .. } | Operation::Delete { key } => {
                    key::check(key)?;
                    if !keys.insert(key.as_str()) {
                        return Err(twice(key));
                    }
                }
                Operation::DeletePrefix { prefix } => {
                    key::check_prefix(prefix)?;
                    let overlaps = |other: &&str| other.starts_with(prefix.as_str()) || prefix.starts_with(*other);
                    if prefixes.iter().any(overlaps) {
                        return Err(twice(prefix));
                    }
                    prefixes.push(prefix);
                }
            }
        }
        match keys.iter().find(|key| prefixes.iter().any(|prefix| key.starts_with(prefix))) {
            Some(key) => Err(twice(key)),
            None => Ok(()),
        }
    }
}

fn twice(key: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("a transaction touches {key} twice"))
        .with_remedy("leave out one of the operations, or make two transactions")
}

/// What came of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed, and on stable storage.
    Committed {
        /// Its revision; if it changed nothing, the newest revision there was.
        revision: Revision,
    },
    /// A compare did not hold. Nothing was done, and nothing will be.
    Conflict,
    /// It was committed, or it will be, or it never will. See [`Store::supersede`](super::Store::supersede).
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_checked_to_the_byte() {
        let room = MAX_SIZE - 1 - OVERHEAD - "/a".len();
        Transaction::new().put("/a", vec![0; room]).check().unwrap();
        let error = Transaction::new().put("/a", vec![0; room + 1]).check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn a_key_is_touched_once() {
        let good = Transaction::new().put("/a/b", "").delete("/a/c").delete_prefix("/b/").delete_prefix("/c/");
        good.check().unwrap();
        for bad in [
            Transaction::new().put("/a", "").put("/a", ""),
            Transaction::new().put("/a", "").delete("/a"),
            Transaction::new().put("/a/b", "").delete_prefix("/a/"),
            Transaction::new().delete_prefix("/a/").delete("/a/b/c"),
            Transaction::new().delete_prefix("/a/").delete_prefix("/a/b/"),
            Transaction::new().delete_prefix("/a/b/").delete_prefix("/"),
        ] {
            assert_eq!(bad.check().unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
    }
}
