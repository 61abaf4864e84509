//! The result of a command in the guest.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How a command ended, and its output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommandOutput {
    /// How it ended.
    pub status: CommandStatus,
    /// Its standard output, up to the [limit](super::GuestCommand::output_limit).
    #[serde(with = "serde_bytes")]
    pub stdout: Vec<u8>,
    /// Its standard error, up to the limit.
    #[serde(with = "serde_bytes")]
    pub stderr: Vec<u8>,
    /// Whether its standard output was longer than that.
    pub stdout_truncated: bool,
    /// Whether its standard error was longer than that.
    pub stderr_truncated: bool,
}

/// How a command in the guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandStatus {
    /// With this exit status, where 0 is success.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// The output stream to which a command wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl CommandOutput {
    /// Its standard output as text, with U+FFFD in place of invalid UTF-8.
    pub fn stdout_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Its standard error as text, with U+FFFD in place of invalid UTF-8.
    pub fn stderr_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

impl CommandStatus {
    /// Whether it exited with status 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for CommandStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signalled(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}
