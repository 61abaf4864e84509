//! Who may do what: users with passwords and roles, their sessions, and the log of what was changed.
//!
//! `users` and `session_verbs` are the verbs of users and sessions, `log_in` makes sessions. `sessions` is the table of
//! sessions, which only decides; `password` hashes and checks; `roles` says what a role allows; `audit` is the log.
//!
//! In the store, a user's password is beside its record, as a hash. A session is under the hash of its reference, and its
//! record is made when its owner reads it, so that neither events nor the records of others have it.

pub(crate) mod audit;
mod log_in;
mod password;
mod roles;
mod session_verbs;
mod sessions;
mod users;

use std::path::Path;
use std::sync::Mutex;

use self::audit::Audit;
use self::sessions::Sessions;

/// The sessions of a host, and its log of changes.
#[derive(Debug)]
pub(crate) struct Access {
    sessions: Mutex<Sessions>,
    pub(crate) audit: Audit,
    /// Checking a password takes much memory: one at a time, whoever asks.
    checking: Mutex<()>,
}

impl Access {
    /// Without sessions yet; the log is in a folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { sessions: Mutex::default(), audit: Audit::new(folder), checking: Mutex::default() }
    }
}
