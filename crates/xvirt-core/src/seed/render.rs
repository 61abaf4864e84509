//! Renders `meta-data` and `user-data` of cloud-init as JSON, which is valid YAML: names and keys are always quoted.

use serde::Serialize;

use super::{Seed, User};
use crate::{Error, ErrorKind, Result};

/// All commands, as any user, without a password (sudoers(5)).
const SUDO_ALL: &str = "ALL=(ALL) NOPASSWD:ALL";

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct MetaData<'a> {
    instance_id: &'a str,
    local_hostname: &'a str,
}

/// Settings that differ from cloud-init's defaults, or from which the image's settings must not differ.
#[derive(Serialize)]
struct CloudConfig<'a> {
    preserve_hostname: bool,
    /// Lets the guest resolve its own name without a name server.
    manage_etc_hosts: &'a str,
    ssh_deletekeys: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<CloudUser<'a>>,
    /// Root's keys; an entry in `users` would also change its password.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ssh_authorized_keys: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_root: Option<bool>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    runcmd: &'a [Vec<String>],
}

#[derive(Serialize)]
struct CloudUser<'a> {
    name: &'a str,
    lock_passwd: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashed_passwd: Option<&'a str>,
    /// A string, because cloud-init 22.4 warns of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    sudo: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ssh_authorized_keys: &'a [String],
}

pub(super) fn meta_data(seed: &Seed) -> Result<String> {
    yaml(&MetaData { instance_id: &seed.instance_id, local_hostname: &seed.hostname })
}

pub(super) fn user_data(seed: &Seed) -> Result<String> {
    let config = CloudConfig {
        preserve_hostname: false,
        manage_etc_hosts: "localhost",
        ssh_deletekeys: true,
        users: seed.users.iter().map(cloud_user).collect(),
        ssh_authorized_keys: &seed.root_authorized_keys,
        disable_root: (!seed.root_authorized_keys.is_empty()).then_some(false),
        runcmd: &seed.commands,
    };
    Ok(format!("#cloud-config\n{}", yaml(&config)?))
}

fn cloud_user(user: &User) -> CloudUser<'_> {
    CloudUser {
        name: &user.name,
        lock_passwd: user.lock_password || user.password_hash.is_none(),
        hashed_passwd: user.password_hash.as_deref(),
        sudo: user.sudo.then_some(SUDO_ALL),
        groups: &user.groups,
        ssh_authorized_keys: &user.authorized_keys,
    }
}

/// JSON that YAML readers parse alike. Some characters are line breaks in YAML 1.1 or not allowed; up to U+FFFF, JSON
/// can escape them with a single `\u`. YAML accepts characters beyond U+FFFF unescaped.
pub(super) fn yaml(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(ErrorKind::InvalidConfig, "cannot encode the seed").because(error))?;
    let mut text = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        match u32::from(c) {
            code @ 0x7f..=0xffff => text.push_str(&format!("\\u{code:04x}")),
            _ => text.push(c),
        }
    }
    text.push('\n');
    Ok(text)
}
