//! The error type: what failed, on what, why, and what to do about it.

use std::fmt;
use std::io;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What sort of failure an [`Error`] is. Kinds are stable, so that a program can decide by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option, a document or a disk to be written makes no sense.
    InvalidInput,
    /// The archive is damaged, incomplete or not what it claims to be.
    Corrupt,
    /// The archive uses something that is not supported.
    Unsupported,
    /// Reading would take more memory than [`ReadOptions`](crate::ReadOptions) allow.
    LimitExceeded,
    /// There is no room for the archive where it is written to.
    NoSpace,
    /// The caller cancelled the work.
    Cancelled,
    /// Any other input or output error. The [`cause`](Error::cause) is then mostly an [`io::Error`].
    Io,
}

/// A failure: its kind, what failed on what, why, and what to do.
///
/// `Display` gives all of it in one line, with the [`cause`](Self::cause). [`source`](std::error::Error::source) goes on
/// behind the cause, so that a program that prints the whole chain prints nothing twice.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    remedy: Option<String>,
    cause: Option<Cause>,
}

impl Error {
    /// An error of `kind`; `what` says what failed and on what, as in "cannot read the archive web.xva".
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), remedy: None, cause: None }
    }

    /// An input or output error.
    pub(crate) fn io(what: impl Into<String>, cause: io::Error) -> Self {
        Self::new(ErrorKind::Io, what).because(cause)
    }

    /// Adds the underlying error: the "why".
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The stable kind of this error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What failed, and on what.
    pub fn message(&self) -> &str {
        &self.what
    }

    /// What to do about it, where something can be done.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The underlying error, if there is one.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }

    /// Takes the underlying error out, if there is one.
    pub fn into_cause(self) -> Option<Box<dyn std::error::Error + Send + Sync>> {
        self.cause
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

/// A member of an archive that is not as it should be.
pub(crate) fn corrupt(member: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, format!("archive member {member} is damaged: {}", why.into()))
        .with_remedy("copy or export the archive again; verify tells which disks are whole")
}

/// Something in an archive that is right but cannot be used.
pub(crate) fn unsupported(what: impl Into<String>, remedy: &str) -> Error {
    Error::new(ErrorKind::Unsupported, what).with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the cable is out")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is gone")]
    struct Outer(#[source] Inner);

    #[test]
    fn nothing_is_said_twice() {
        let error =
            Error::new(ErrorKind::Io, "cannot read the archive").because(Outer(Inner)).with_remedy("look at it");
        assert_eq!(error.to_string(), "cannot read the archive: the disk is gone; look at it");
        assert_eq!(error.source().unwrap().to_string(), "the cable is out");
        assert!(error.cause().unwrap().downcast_ref::<Outer>().is_some());
        assert!(error.into_cause().unwrap().downcast::<Outer>().is_ok());
    }
}
