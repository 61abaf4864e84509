//! The one error type: what failed, on what, why, and what to do about it.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The remedy if no file descriptors are left.
const MORE_DESCRIPTORS: &str = "raise the limit of open files: ulimit -n, LimitNOFILE= of the service, or \
                                setrlimit(RLIMIT_NOFILE) in the program";

/// The remedy if the host's limit of open files is reached.
const MORE_FILES: &str = "close files in other programs, or raise the host's limit of open files: sysctl fs.file-max";

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The kind of an [`Error`]. It is stable, so that programs can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A configuration or argument is invalid; the message names the field.
    InvalidConfig,
    /// A named object, such as a file or interface, does not exist.
    NotFound,
    /// The object to be created already exists.
    AlreadyExists,
    /// The operating system refused access.
    PermissionDenied,
    /// The object is in use, such as a disk locked by another process.
    Busy,
    /// A disk or file system is full.
    NoSpace,
    /// The host does not have enough memory.
    OutOfMemory,
    /// The process has reached its limit of file descriptors, or the host its limit of open files.
    OutOfDescriptors,
    /// There is no KVM on this host.
    KvmAbsent,
    /// KVM exists, but this user lacks the permission to use it.
    KvmDenied,
    /// The host lacks a required capability.
    HostUnsupported,
    /// The operation is not allowed in the VM's power state, in the current state of its disks, or in a child of
    /// fork(2).
    InvalidState,
    /// A disk image is damaged, or does not have the expected format.
    CorruptImage,
    /// A disk image is encrypted, which is not supported.
    EncryptedImage,
    /// A disk image uses a feature that is not supported.
    UnsupportedImage,
    /// A virtual appliance is damaged or incomplete, or is not a valid archive.
    CorruptArchive,
    /// A virtual appliance uses a feature that is not supported.
    UnsupportedArchive,
    /// A storage repository is damaged.
    CorruptRepository,
    /// A storage repository was created by a newer version.
    UnsupportedRepository,
    /// The file with the saved state of a VM is damaged, cut off, or another kind of file.
    CorruptState,
    /// The saved state of a VM has an unsupported format, section or architecture.
    UnsupportedState,
    /// Other objects depend on the object; the message names them.
    InUse,
    /// A limit would be exceeded; the message names it and the setting that raises it.
    LimitExceeded,
    /// A kernel or initrd cannot be loaded.
    InvalidKernel,
    /// No bootable kernel was found on a disk.
    NotBootable,
    /// The guest did something that no real machine could handle.
    GuestFault,
    /// A time limit was exceeded.
    Timeout,
    /// The awaited event can no longer occur: the VM was dropped, or the console was closed.
    Gone,
    /// The guest agent is not running, or has stopped.
    AgentAbsent,
    /// The guest agent answered with an error.
    AgentRefused,
    /// The answer of the guest agent is invalid.
    InvalidAnswer,
    /// The target of a migration cannot take the VM, or speaks another version of the protocol; the message has all
    /// reasons.
    MigrationRefused,
    /// The other side of a migration failed, closed the connection or broke the protocol.
    PeerFailed,
    /// The other side of a migration does not trust this host, or is not trusted: a certificate is missing, expired, for
    /// another name, or not signed by a trusted authority.
    Untrusted,
    /// The outcome of a migration is unknown: the VM is stopped at the source, and may run at the target.
    Indeterminate,
    /// The caller cancelled the operation.
    Cancelled,
    /// Any other I/O error.
    Io,
}

impl ErrorKind {
    /// The name of the kind, such as `not_found`. It is as stable as the kind, for logs and other languages.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid_config",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::Busy => "busy",
            Self::NoSpace => "no_space",
            Self::OutOfMemory => "out_of_memory",
            Self::OutOfDescriptors => "out_of_descriptors",
            Self::KvmAbsent => "kvm_absent",
            Self::KvmDenied => "kvm_denied",
            Self::HostUnsupported => "host_unsupported",
            Self::InvalidState => "invalid_state",
            Self::CorruptImage => "corrupt_image",
            Self::EncryptedImage => "encrypted_image",
            Self::UnsupportedImage => "unsupported_image",
            Self::CorruptArchive => "corrupt_archive",
            Self::UnsupportedArchive => "unsupported_archive",
            Self::CorruptRepository => "corrupt_repository",
            Self::UnsupportedRepository => "unsupported_repository",
            Self::CorruptState => "corrupt_state",
            Self::UnsupportedState => "unsupported_state",
            Self::InUse => "in_use",
            Self::LimitExceeded => "limit_exceeded",
            Self::InvalidKernel => "invalid_kernel",
            Self::NotBootable => "not_bootable",
            Self::GuestFault => "guest_fault",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::AgentAbsent => "agent_absent",
            Self::AgentRefused => "agent_refused",
            Self::InvalidAnswer => "invalid_answer",
            Self::MigrationRefused => "migration_refused",
            Self::PeerFailed => "peer_failed",
            Self::Untrusted => "untrusted",
            Self::Indeterminate => "indeterminate",
            Self::Cancelled => "cancelled",
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
    /// An error of `kind`; `what` says what failed and on what, such as "cannot open disk image /a/b.qcow2".
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), remedy: None, cause: None }
    }

    /// An I/O error. Its kind follows from the operating system's error, or is that of an error of this crate in it. The
    /// error for a full file system gets a remedy.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        let error = Self::new(kind_of(&source), what).because(source);
        if error.kind == ErrorKind::NoSpace { error.with_remedy("make room on the file system") } else { error }
    }

    /// The error of this crate in an I/O error.
    pub(crate) fn inside(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Adds the cause.
    ///
    /// A lack of file descriptors can occur anywhere and is unrelated to the operation: with such a cause, this error
    /// gets the kind [`OutOfDescriptors`](ErrorKind::OutOfDescriptors) and its remedy.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        if let Some(lack) = Lack::of(&*cause) {
            self.kind = ErrorKind::OutOfDescriptors;
            self.remedy.get_or_insert_with(|| lack.remedy().to_owned());
        }
        self.cause = Some(cause);
        self
    }

    /// Adds a remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        if self.kind != ErrorKind::OutOfDescriptors || self.remedy.is_none() {
            self.remedy = Some(remedy.into());
        }
        self
    }

    /// Removes the remedy, for callers with a better one.
    pub(crate) fn without_remedy(self) -> Self {
        Self { remedy: None, ..self }
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

    /// Whether the process or the host lacks a resource, so that the error says nothing about the object of the
    /// operation.
    pub(crate) fn is_shortage(&self) -> bool {
        matches!(self.kind, ErrorKind::OutOfDescriptors | ErrorKind::OutOfMemory)
    }

    /// The remedy, if there is one.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl From<xvirt_xva::Error> for Error {
    /// Converts the error with its whole context. An error of the operating system gets the same kind as elsewhere in
    /// this crate.
    fn from(error: xvirt_xva::Error) -> Self {
        use xvirt_xva::ErrorKind as Kind;

        let kind = match error.kind() {
            Kind::InvalidInput => ErrorKind::InvalidConfig,
            Kind::Corrupt => ErrorKind::CorruptArchive,
            Kind::Unsupported => ErrorKind::UnsupportedArchive,
            Kind::LimitExceeded => ErrorKind::LimitExceeded,
            Kind::NoSpace => ErrorKind::NoSpace,
            Kind::Cancelled => ErrorKind::Cancelled,
            _ => error.cause().and_then(|cause| cause.downcast_ref()).map_or(ErrorKind::Io, kind_of),
        };
        let (what, remedy) = (error.message().to_owned(), error.remedy().map(str::to_owned));
        let mut same = Self { remedy, ..Self::new(kind, what) };
        if let Some(cause) = error.into_cause() {
            same = same.because(cause);
        }
        same
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

/// The limit that prevents opening files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The process has reached its limit of descriptors.
    Process,
    /// The host has reached its limit of open files.
    Host,
}

impl Lack {
    /// The limit that caused this error, if any.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<Error>() {
            let below = || error.cause.as_deref().and_then(|cause| Self::of(cause));
            return (error.kind == ErrorKind::OutOfDescriptors).then(|| below().unwrap_or(Self::Process));
        }
        match error.downcast_ref::<io::Error>()?.raw_os_error()? {
            libc::EMFILE => Some(Self::Process),
            libc::ENFILE => Some(Self::Host),
            _ => None,
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Process => MORE_DESCRIPTORS,
            Self::Host => MORE_FILES,
        }
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    if let Some(error) = Error::inside(error) {
        return error.kind;
    }
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        io::ErrorKind::ResourceBusy => ErrorKind::Busy,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_what_why_and_what_to_do() {
        let error = Error::io("cannot open disk image a.raw", io::Error::from_raw_os_error(libc::ENOENT))
            .with_remedy("check the path");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(
            error.to_string(),
            "cannot open disk image a.raw: No such file or directory (os error 2); check the path"
        );
    }

    #[test]
    fn kinds_have_names_for_other_languages() {
        let named = [ErrorKind::NotFound, ErrorKind::OutOfDescriptors, ErrorKind::Io].map(|kind| kind.to_string());
        assert_eq!(named, ["not_found", "out_of_descriptors", "io"]);
    }

    #[test]
    fn a_program_that_prints_the_whole_chain_prints_nothing_twice() {
        use std::error::Error as _;

        #[derive(Debug, thiserror::Error)]
        #[error("the disk is gone")]
        struct Outer(#[source] io::Error);

        let inner = Outer(io::Error::other("the cable is out"));
        let first = Error::new(ErrorKind::Io, "cannot read it").because(inner);
        let second = Error::new(ErrorKind::Io, "cannot start").because(first);
        assert_eq!(second.to_string(), "cannot start: cannot read it: the disk is gone");
        let rest = std::iter::successors(second.source(), |error| (*error).source()).map(ToString::to_string);
        assert_eq!(rest.collect::<Vec<_>>(), ["the cable is out"]);
        assert_eq!(
            (second.message(), second.cause().unwrap().to_string().as_str()),
            ("cannot start", "cannot read it: the disk is gone")
        );
    }

    #[test]
    fn an_error_of_an_archive_keeps_its_kind_and_all_that_it_says() {
        use xvirt_xva::ErrorKind as Kind;

        let refused = || io::Error::from_raw_os_error(libc::EACCES);
        for (kind, cause, expected) in [
            (Kind::Corrupt, None, ErrorKind::CorruptArchive),
            (Kind::Unsupported, None, ErrorKind::UnsupportedArchive),
            (Kind::NoSpace, Some(refused()), ErrorKind::NoSpace),
            (Kind::Io, Some(refused()), ErrorKind::PermissionDenied),
            (Kind::Io, Some(io::Error::from_raw_os_error(libc::EMFILE)), ErrorKind::OutOfDescriptors),
            (Kind::Io, None, ErrorKind::Io),
        ] {
            let said = xvirt_xva::Error::new(kind, "cannot read it");
            let said = cause.into_iter().fold(said, |said, cause| said.because(cause)).with_remedy("look at it");
            let text = said.to_string();
            let error = Error::from(said);
            assert_eq!((error.kind(), error.to_string()), (expected, text));
            assert_eq!(error.remedy(), Some("look at it"));
        }
    }

    #[test]
    fn a_lack_of_descriptors_is_that_whatever_was_done() {
        for (number, remedy) in [(libc::EMFILE, MORE_DESCRIPTORS), (libc::ENFILE, MORE_FILES)] {
            let source = || io::Error::from_raw_os_error(number);
            let first = Error::io("cannot open it", source()).with_remedy("check the path");
            let second =
                Error::new(ErrorKind::HostUnsupported, "the host cannot").because(source()).with_remedy("ask it to");
            let third = Error::new(ErrorKind::InvalidConfig, "no").because(second);
            for error in [first, third] {
                assert_eq!(error.kind(), ErrorKind::OutOfDescriptors);
                assert_eq!(error.remedy(), Some(remedy));
            }
        }
    }
}
