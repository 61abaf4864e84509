//! The user-facing description of a guest's identity.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fat::{self, File};
use super::{SeedNic, User, invalid, name, network, render};
use crate::Result;
use crate::disk;

/// The label by which cloud-init finds the disk.
const LABEL: &[u8; 11] = b"CIDATA     ";

/// A guest's identity at its first boot.
///
/// Equal values yield equal bytes. Two calls of [`new`](Self::new) yield different identities, because each has its own
/// instance id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Seed {
    /// The host name, with or without a domain.
    pub hostname: String,
    /// The unique id of the guest: with a new one, cloud-init runs again and also creates new SSH host keys.
    #[serde(default = "new_instance_id")]
    pub instance_id: String,
    /// The users. If empty, cloud-init creates the image's default user.
    #[serde(default)]
    pub users: Vec<User>,
    /// Lines of root's `authorized_keys`. If [`users`](Self::users) is empty, the image's default user gets them too.
    #[serde(default)]
    pub root_authorized_keys: Vec<String>,
    /// Commands with their arguments, which run once, in this order, after everything else. They do not go through a
    /// shell.
    #[serde(default)]
    pub commands: Vec<Vec<String>>,
    /// The network interfaces, which the guest names `eth0`, `eth1` and so on in this order. If empty, the image's
    /// default applies, which usually is DHCP on the first interface.
    #[serde(default)]
    pub nics: Vec<SeedNic>,
    /// The complete `user-data`, instead of users, keys and commands. It is not checked.
    #[serde(default)]
    pub user_data: Option<String>,
}

fn new_instance_id() -> String {
    Uuid::new_v4().to_string()
}

impl Seed {
    /// A guest with this host name and a random instance id.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            instance_id: new_instance_id(),
            users: Vec::new(),
            root_authorized_keys: Vec::new(),
            commands: Vec::new(),
            nics: Vec::new(),
            user_data: None,
        }
    }

    /// Sets the instance id. A guest that gets its old one keeps its identity.
    #[must_use]
    pub fn instance_id(mut self, id: impl Into<String>) -> Self {
        self.instance_id = id.into();
        self
    }

    /// Adds a user.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// Allows the holder of a key to log in as root over SSH; `line` is the line of a `.pub` file.
    #[must_use]
    pub fn root_authorized_key(mut self, line: impl Into<String>) -> Self {
        self.root_authorized_keys.push(line.into());
        self
    }

    /// Adds a command with its arguments, to run once after everything else.
    #[must_use]
    pub fn command<I: IntoIterator<Item: Into<String>>>(mut self, words: I) -> Self {
        self.commands.push(words.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a network interface.
    #[must_use]
    pub fn nic(mut self, nic: SeedNic) -> Self {
        self.nics.push(nic);
        self
    }

    /// Sets the complete `user-data`, instead of users, keys and commands.
    #[must_use]
    pub fn user_data(mut self, text: impl Into<String>) -> Self {
        self.user_data = Some(text.into());
        self
    }

    /// Checks all fields.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) if a field is invalid; the message names it and the valid
    /// values.
    pub fn check(&self) -> Result<()> {
        name::check_hostname(&self.hostname)?;
        name::check_instance_id(&self.instance_id)?;
        self.users.iter().try_for_each(User::check)?;
        self.root_authorized_keys.iter().try_for_each(|key| name::check_key("root", key))?;
        self.nics.iter().try_for_each(SeedNic::check)?;
        self.check_commands()?;
        self.check_repetitions()
    }

    fn check_commands(&self) -> Result<()> {
        if self.commands.iter().any(|words| words.first().is_none_or(String::is_empty)) {
            return Err(invalid("one of the commands is empty", "give each command a program to run"));
        }
        let has_nul = |words: &Vec<String>| words.iter().any(|word| word.contains('\0'));
        if self.commands.iter().any(has_nul) {
            return Err(invalid("one of the commands contains a zero byte", "remove the zero byte"));
        }
        if self.user_data.is_none()
            || self.users.is_empty() && self.root_authorized_keys.is_empty() && self.commands.is_empty()
        {
            return Ok(());
        }
        Err(invalid(
            "user_data was given together with users, keys or commands",
            "write them into user_data, or leave it out",
        ))
    }

    fn check_repetitions(&self) -> Result<()> {
        let mut names = HashSet::new();
        if let Some(user) = self.users.iter().find(|user| !names.insert(&user.name)) {
            return Err(invalid(format!("there are two users {}", user.name), "merge them into one"));
        }
        let mut macs = HashSet::new();
        match self.nics.iter().find(|nic| !macs.insert(nic.mac)) {
            Some(nic) => Err(invalid(format!("there are two nics with the mac {}", nic.mac), "merge them into one")),
            None => Ok(()),
        }
    }

    /// The disk image: a FAT file system with the label `CIDATA`, of one or a few MiB.
    ///
    /// # Errors
    /// As for [`check`](Self::check), and [`InvalidConfig`](crate::ErrorKind::InvalidConfig) if the contents exceed 14
    /// MiB.
    pub fn image(&self) -> Result<Vec<u8>> {
        self.check()?;
        let user_data = match &self.user_data {
            Some(text) => text.clone(),
            None => render::user_data(self)?,
        };
        let meta_data = render::meta_data(self)?;
        let network = if self.nics.is_empty() { None } else { Some(network::network_config(&self.nics)?) };
        let mut files = vec![File::new("meta-data", &meta_data), File::new("user-data", &user_data)];
        files.extend(network.as_ref().map(|text| File::new("network-config", text)));
        fat::image(LABEL, &files).ok_or_else(|| {
            invalid(format!("the seed of {} is too large", self.hostname), "keep user_data and the rest below 14 MiB")
        })
    }

    /// Writes the disk image to a new file that only its owner may read, because it may contain password hashes.
    ///
    /// Add it to the VM as a read-only disk. When this returns, it is on stable storage.
    ///
    /// # Errors
    /// As for [`image`](Self::image); [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if `path` exists, which is
    /// then unchanged. On failure no file is left behind.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        disk::create_with(path.as_ref(), &self.image()?)
    }
}
