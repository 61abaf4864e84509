//! The one error type: what failed, on what, why, and what to do about it.

use std::fmt;
use std::io;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The kind of an [`Error`]. It is stable, so that programs can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A key, a transaction or another argument is invalid. Nothing was done.
    InvalidInput,
    /// A transaction has too many operations or is too large. Nothing was done.
    LimitExceeded,
    /// The history that was asked for is no longer kept: read everything again.
    Compacted,
    /// The revision that was asked for does not exist yet.
    FutureRevision,
    /// The store was restored or replaced since, so revisions from before mean nothing: read everything again.
    EpochChanged,
    /// The lease has ended, or never was.
    LeaseNotFound,
    /// The store cannot be reached, or has no quorum. Nothing was done.
    Unavailable,
    /// The file system or the store's own limit is full. Nothing was written; reads still work.
    StorageFull,
    /// The watch or the store was closed.
    Closed,
    /// Another process, or another part of this one, uses the store.
    Busy,
    /// There is no store at this place.
    NotFound,
    /// There already is a store at this place.
    AlreadyExists,
    /// The operating system refused access.
    PermissionDenied,
    /// A store or a snapshot is damaged, or is another kind of file.
    Corrupt,
    /// A store or a snapshot was written by a newer version.
    Unsupported,
    /// Any other I/O error.
    Io,
}

impl ErrorKind {
    /// The name of the kind, such as `not_found`. It is as stable as the kind, for logs and other languages.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::LimitExceeded => "limit_exceeded",
            Self::Compacted => "compacted",
            Self::FutureRevision => "future_revision",
            Self::EpochChanged => "epoch_changed",
            Self::LeaseNotFound => "lease_not_found",
            Self::Unavailable => "unavailable",
            Self::StorageFull => "storage_full",
            Self::Closed => "closed",
            Self::Busy => "busy",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Io => "io",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error: its kind, what failed on what, why, and what to do.
///
/// `Display` prints all of it in one line, including the [`cause`](Self::cause). [`source`](std::error::Error::source)
/// continues after the cause, so a program that prints the whole chain prints nothing twice.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    remedy: Option<String>,
    cause: Option<Cause>,
}

impl Error {
    /// An error of `kind`; `what` says what failed and on what, such as "cannot open the store /a/b.db".
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), remedy: None, cause: None }
    }

    /// An I/O error. Its kind follows from the operating system's error. The error for a full file system gets a remedy.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        let error = Self::new(kind_of(&source), what).because(source);
        if error.kind == ErrorKind::StorageFull { error.with_remedy("make room on the file system") } else { error }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds a remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The stable kind of this error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What failed and on what.
    pub fn message(&self) -> &str {
        &self.what
    }

    /// The cause, if there is one.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }

    /// The remedy, if there is one.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().and_then(|cause| cause.source())
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
        io::ErrorKind::ResourceBusy => ErrorKind::Busy,
        _ => ErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn display_says_what_why_and_what_to_do() {
        let full = Error::io("cannot write /a/b.db", io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        assert_eq!(full.to_string(), "cannot write /a/b.db: no storage space; make room on the file system");
        assert_eq!(full.kind().to_string(), "storage_full");
    }

    #[test]
    fn a_program_that_prints_the_whole_chain_prints_nothing_twice() {
        let first = Error::io("cannot read it", io::Error::other("the cable is out"));
        let second = Error::new(ErrorKind::Io, "cannot open the store").because(first);
        assert_eq!(second.to_string(), "cannot open the store: cannot read it: the cable is out");
        assert!(second.source().is_none());
    }
}
