//! The one error type, which also travels from the worker to its peer.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of errors of the protocol itself. All others are those of `xvirt_core::ErrorKind::name`, such as
/// `invalid_state`.
pub mod kind {
    /// The peer broke the protocol: the message says how. The connection is of no more use.
    pub const PROTOCOL: &str = "protocol";
    /// The two sides have no version of the protocol in common.
    pub const VERSION: &str = "version";
    /// The worker does not know this request: it is older than its peer.
    pub const UNKNOWN_REQUEST: &str = "unknown_request";
    /// The peer has gone, or the worker has ended.
    pub const GONE: &str = "gone";
    /// The peer was too slow.
    pub const TIMEOUT: &str = "timeout";
    /// There is no VM in the worker yet, or there is one already.
    pub const INVALID_STATE: &str = "invalid_state";
    /// An argument of a request is invalid.
    pub const INVALID_CONFIG: &str = "invalid_config";
    /// A limit would be exceeded; the message names it.
    pub const LIMIT_EXCEEDED: &str = "limit_exceeded";
    /// An exit record is damaged.
    pub const DAMAGED: &str = "damaged";
    /// The host lacks something that the settings require.
    pub const HOST_UNSUPPORTED: &str = "host_unsupported";
    /// Any other I/O error.
    pub const IO: &str = "io";
}

/// An error: its kind, what failed on what and why, and what to do.
///
/// The kind is text, because a worker of another version may have kinds that this one does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    kind: String,
    message: String,
    #[serde(default)]
    remedy: Option<String>,
}

impl Error {
    /// An error of `kind`; `message` says what failed, on what and why.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), remedy: None }
    }

    /// An I/O error.
    pub fn io(what: impl fmt::Display, source: &io::Error) -> Self {
        let kind = match source.kind() {
            // What a socket with a time limit returns.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => kind::TIMEOUT,
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof => kind::GONE,
            _ => kind::IO,
        };
        Self::new(kind, format!("{what}: {source}"))
    }

    /// Adds a remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The stable name of its kind: one of [`kind`], or of `xvirt_core::ErrorKind::name`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What failed, on what and why.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The remedy, if there is one.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.remedy.iter().try_for_each(|remedy| write!(f, "; {remedy}"))
    }
}

impl std::error::Error for Error {}

#[cfg(feature = "worker")]
impl From<xvirt_core::Error> for Error {
    fn from(error: xvirt_core::Error) -> Self {
        let message = match error.cause() {
            Some(cause) => format!("{}: {cause}", error.message()),
            None => error.message().to_owned(),
        };
        Self { kind: error.kind().name().to_owned(), message, remedy: error.remedy().map(str::to_owned) }
    }
}
