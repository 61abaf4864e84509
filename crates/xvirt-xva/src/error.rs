//! The error type: what failed, on what, why, and what to do about it.

use std::fmt;
use std::io;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The kind of an [`Error`]. It is stable, so that programs can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option, a document or a disk to write is invalid.
    InvalidInput,
    /// The archive is damaged, incomplete, or not a valid archive.
    Corrupt,
    /// The archive uses a feature that is not supported.
    Unsupported,
    /// Reading would need more memory than [`ReadOptions`](crate::ReadOptions) allow.
    LimitExceeded,
    /// There is no space to write the archive.
    NoSpace,
    /// The caller cancelled the operation.
    Cancelled,
    /// Any other I/O error. The [`cause`](Error::cause) is then usually an [`io::Error`].
    Io,
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
    /// An error of `kind`; `what` says what failed and on what, such as "cannot read the archive web.xva".
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), remedy: None, cause: None }
    }

    /// An I/O error.
    pub(crate) fn io(what: impl Into<String>, cause: io::Error) -> Self {
        Self::new(ErrorKind::Io, what).because(cause)
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

    /// The remedy, if there is one.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The cause, if there is one.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }

    /// Returns the cause, if there is one.
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

/// The error for a damaged member of an archive.
pub(crate) fn corrupt(member: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, format!("archive member {member} is damaged: {}", why.into()))
        .with_remedy("copy or export the archive again; verify tells which disks are whole")
}

/// How to pack an archive again, in the folder to which it was unpacked.
const IN_ORDER: &str = "if the archive was packed again by another program, unpack it into an empty folder, and pack it \
                        there in the order of an appliance: { echo ova.xml; find * -type f ! -name ova.xml | LC_ALL=C \
                        sort; } | tar --format=ustar -cf ../new.xva -T -; otherwise, copy or export it again";

/// The error for a member that an appliance has in another place.
pub(crate) fn out_of_order(member: &str, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("archive member {member} is out of order: {why}")).with_remedy(IN_ORDER)
}

/// The error for a checksum whose chunk is missing, because the chunk would read as zeroes.
pub(crate) fn without_chunk(checksum: &str) -> Error {
    corrupt(checksum, "it does not follow the chunk with this name").with_remedy(IN_ORDER)
}

/// The error for a disk of an archive that has no contents of any disk.
pub(crate) fn without_contents(disk: &str) -> Error {
    let what = format!(
        "archive member {disk} is missing: this is an export of metadata, which has no contents of disks, or it ends too \
         early"
    );
    Error::new(ErrorKind::Corrupt, what).with_remedy("export the VM with its disks, without the option for metadata")
}

/// The error for a package of an OVF description and its disks.
pub(crate) fn ova_package() -> Error {
    unsupported(
        "this is not a virtual appliance (XVA): it is an OVA, the format of VMware and VirtualBox",
        "unpack it with tar, convert its disk images to raw or qcow2, and use them as disks",
    )
}

/// The error for a valid but unsupported archive.
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
