//! How a worker is started.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The settings of a worker, which are its only argument, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// The user whose programs may talk to the worker, besides root. In a worker with a user namespace
    /// ([`Wall::Mounts`] without privileges) it is also the only one.
    pub peer_uid: u32,
    /// The user that the worker becomes; needs privileges.
    pub uid: Option<u32>,
    /// The group that the worker becomes; that of the user's number if absent.
    pub gid: Option<u32>,
    /// The most private memory that the worker may have in bytes (`RLIMIT_DATA`): that of the guest and the worker's own.
    pub memory_limit: Option<u64>,
    /// The most descriptors that the worker may have open (`RLIMIT_NOFILE`); the starter's limit if absent.
    pub open_files: Option<u64>,
    /// Walls without which the worker ends at once instead of running.
    pub required: Vec<Wall>,
    /// The least severe messages in the log: `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            peer_uid: 0,
            uid: None,
            gid: None,
            memory_limit: None,
            open_files: None,
            required: Vec::new(),
            log_level: "info".to_owned(),
        }
    }
}

impl Settings {
    /// Settings with which programs of this user may talk to the worker.
    pub fn new(peer_uid: u32) -> Self {
        Self { peer_uid, ..Self::default() }
    }

    /// Sets the user and group that the worker becomes.
    #[must_use]
    pub fn identity(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (Some(uid), Some(gid));
        self
    }

    /// Sets the most private memory of the worker, in bytes.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Sets the most open descriptors of the worker.
    #[must_use]
    pub fn open_files(mut self, count: u64) -> Self {
        self.open_files = Some(count);
        self
    }

    /// Adds a wall without which the worker must not run.
    #[must_use]
    pub fn require(mut self, wall: Wall) -> Self {
        self.required.push(wall);
        self
    }

    /// Sets the least severe messages in the log.
    #[must_use]
    pub fn log_level(mut self, level: impl Into<String>) -> Self {
        self.log_level = level.into();
        self
    }
}

/// A wall of the sandbox around a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Wall {
    /// Limits on private memory, descriptors and core dumps (setrlimit(2)).
    Limits,
    /// A mount namespace whose root is empty and read-only.
    Mounts,
    /// A PID namespace: other processes have no number here.
    Processes,
    /// An IPC namespace.
    Ipc,
    /// A network namespace without interfaces.
    Network,
    /// A namespace of host names (UTS).
    HostName,
    /// A user and group of its own.
    Identity,
    /// No capabilities (capabilities(7)), and no way to get any.
    Capabilities,
    /// No new privileges by running a program (`PR_SET_NO_NEW_PRIVS`).
    NoNewPrivileges,
    /// Other processes of the same user can neither trace the worker nor read its memory (`PR_SET_DUMPABLE`).
    Untraceable,
    /// No right to any file, and none to connect or to signal others (landlock(7)).
    Landlock,
    /// Only the system calls that a worker needs (seccomp(2)).
    Seccomp,
}

impl Wall {
    /// All walls, in the order in which a worker raises them.
    pub const ALL: [Self; 12] = [
        Self::Limits,
        Self::Mounts,
        Self::Processes,
        Self::Ipc,
        Self::Network,
        Self::HostName,
        Self::Identity,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::Untraceable,
        Self::Landlock,
        Self::Seccomp,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Mounts => "mounts",
            Self::Processes => "processes",
            Self::Ipc => "ipc",
            Self::Network => "network",
            Self::HostName => "host_name",
            Self::Identity => "identity",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivileges => "no_new_privileges",
            Self::Untraceable => "untraceable",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_other_versions_are_read() {
        let settings: Settings = serde_json::from_str(r#"{"peer_uid":7,"newer":true}"#).unwrap();
        assert_eq!(settings, Settings::new(7));
        for wall in Wall::ALL {
            assert_eq!(serde_json::to_string(&wall).unwrap(), format!("\"{wall}\""));
        }
    }
}
