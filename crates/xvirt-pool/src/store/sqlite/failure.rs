//! What SQLite reports, as errors of this crate.

use rusqlite::ErrorCode;

use crate::{Error, ErrorKind};

const DAMAGED: &str = "restore it from a snapshot, or from another member of the pool";

/// An error of SQLite while doing `what`.
pub(super) fn failed(what: &str, error: rusqlite::Error) -> Error {
    Failure::of(&error).during(what)
}

/// A failure that several callers share.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: ErrorKind,
    why: String,
}

impl Failure {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => ErrorKind::StorageFull,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
            Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::AuthorizationForStatementDenied) => {
                ErrorKind::PermissionDenied
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
            // A row or a column that cannot be, and a broken constraint.
            None | Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => ErrorKind::Corrupt,
            Some(_) => ErrorKind::Io,
        };
        // Only the number tells a failed sync from a failed write.
        let number = error.sqlite_error().map(|error| format!(" (SQLite error {})", error.extended_code));
        Self { kind, why: format!("{error}{}", number.unwrap_or_default()) }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(super) fn during(&self, what: &str) -> Error {
        let error = Error::new(self.kind, what).because(self.why.clone());
        match self.kind {
            ErrorKind::StorageFull => {
                error.with_remedy("make room on the file system, or compact the store or raise its limit of size")
            }
            ErrorKind::Corrupt => error.with_remedy(DAMAGED),
            ErrorKind::Busy => error.with_remedy("let no other program use the store's files"),
            ErrorKind::PermissionDenied => {
                error.with_remedy("let this user read and write the store's files and folder")
            }
            _ => error,
        }
    }
}

/// The error for a store whose contents contradict themselves.
pub(super) fn damaged(path: &std::path::Path, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the store {} is damaged: {why}", path.display())).with_remedy(DAMAGED)
}
