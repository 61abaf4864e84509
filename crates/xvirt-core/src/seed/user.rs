//! A user of the guest.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{invalid, name};
use crate::Result;

/// A user whom cloud-init creates at the first boot; an existing user gets the keys and the password.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct User {
    /// The login name.
    pub name: String,
    /// Whether the user may run all commands through sudo without a password.
    #[serde(default)]
    pub sudo: bool,
    /// Additional groups of the user; missing groups are created.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Lines of the user's `authorized_keys`, for logging in over SSH.
    #[serde(default)]
    pub authorized_keys: Vec<String>,
    /// The hashed password in the format of crypt(5) (`$6$...`, `$y$...`).
    #[serde(default)]
    pub password_hash: Option<String>,
    /// Whether logging in with the password is locked. Without a password it always is.
    #[serde(default)]
    pub lock_password: bool,
}

impl User {
    /// A user without privileges, who cannot log in.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sudo: false,
            groups: Vec::new(),
            authorized_keys: Vec::new(),
            password_hash: None,
            lock_password: false,
        }
    }

    /// Allows the user to run all commands through sudo without a password.
    #[must_use]
    pub fn sudo(mut self) -> Self {
        self.sudo = true;
        self
    }

    /// Adds the user to a group.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.groups.push(name.into());
        self
    }

    /// Allows the holder of a key to log in over SSH; `line` is the line of a `.pub` file.
    #[must_use]
    pub fn authorized_key(mut self, line: impl Into<String>) -> Self {
        self.authorized_keys.push(line.into());
        self
    }

    /// Sets the hashed password (`$6$...`, `$y$...`).
    #[must_use]
    pub fn password_hash(mut self, hash: impl Into<String>) -> Self {
        self.password_hash = Some(hash.into());
        self
    }

    /// Locks logging in with the password.
    #[must_use]
    pub fn lock_password(mut self) -> Self {
        self.lock_password = true;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        name::check_account("user name", &self.name)?;
        if self.name == "root" {
            return Err(invalid("the user root exists in every guest", "set its keys with root_authorized_key"));
        }
        self.groups.iter().try_for_each(|group| name::check_account("group name", group))?;
        self.authorized_keys.iter().try_for_each(|key| name::check_key(&self.name, key))?;
        self.password_hash.iter().try_for_each(|hash| name::check_password_hash(&self.name, hash))
    }
}

impl fmt::Debug for User {
    /// Omits the hash, which is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("sudo", &self.sudo)
            .field("groups", &self.groups)
            .field("authorized_keys", &self.authorized_keys)
            .field("has_password", &self.password_hash.is_some())
            .field("lock_password", &self.lock_password)
            .finish()
    }
}
