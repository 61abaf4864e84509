//! Checks host names, user names, keys and password hashes.

use super::invalid;
use crate::Result;

/// The longest label of a DNS name in bytes (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;
/// The longest DNS name in bytes.
const MAX_DOMAIN: usize = 253;
/// The longest user name for `useradd` in bytes.
const MAX_USER: usize = 32;
/// The longest instance id in bytes: it becomes a folder name in the guest.
const MAX_INSTANCE_ID: usize = 128;
/// A limit above the length of any public key in bytes.
const MAX_KEY: usize = 16 << 10;
const MAX_HASH: usize = 1 << 10;

/// Checks a host name, with or without a domain (RFC 1123, section 2.1).
pub(super) fn check_hostname(name: &str) -> Result<()> {
    if is_domain(name) {
        return Ok(());
    }
    Err(invalid(
        format!("the hostname {name:?} is invalid"),
        "use letters, digits and dashes, at most 63 to a part, with dots between the parts",
    ))
}

/// Checks a domain in which short names are looked up.
pub(super) fn check_search_domain(name: &str) -> Result<()> {
    if is_domain(name) {
        return Ok(());
    }
    Err(invalid(format!("the search domain {name:?} is invalid"), "use a domain such as example.org"))
}

fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= MAX_DOMAIN && name.split('.').all(is_label)
}

/// Checks an instance id, from which cloud-init creates a folder name.
pub(super) fn check_instance_id(id: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let starts_well = id.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if starts_well && id.len() <= MAX_INSTANCE_ID && id.bytes().all(allowed) {
        return Ok(());
    }
    Err(invalid(
        format!("the instance id {id:?} is invalid"),
        "begin with a letter or digit, and use letters, digits, '-', '_', '.' and ':', at most 128",
    ))
}

/// Checks the name of a user or group by the rules of Debian's `useradd`; `field` names the field.
pub(super) fn check_account(field: &str, name: &str) -> Result<()> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if starts_well && name.len() <= MAX_USER && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(invalid(
        format!("the {field} {name:?} is invalid"),
        "begin with a lower case letter, and use lower case letters, digits, '-' and '_', at most 32",
    ))
}

/// Checks a line of an `authorized_keys` file (sshd(8), AUTHORIZED_KEYS FILE FORMAT): options, type, key and comment.
pub(super) fn check_key(user: &str, line: &str) -> Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let is_key = |pair: &[&str]| matches!(pair, [kind, key] if is_key_type(kind) && is_base64(key));
    let is_one_line = line.len() <= MAX_KEY && !line.chars().any(char::is_control);
    if is_one_line && words.windows(2).any(is_key) {
        return Ok(());
    }
    // Does not show the line, because it may be a private key given by mistake.
    Err(invalid(
        format!("an authorized_key of {user} is not a public key"),
        "use the line of a .pub file, for example 'ssh-ed25519 AAAA... name@host'",
    ))
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start))
}

fn is_base64(word: &str) -> bool {
    // Every key starts with the length of its type's name, in four bytes of which the first two are zero.
    word.starts_with("AAAA") && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
}

/// Checks a hashed password in the format of crypt(5): a method, its parameters, a salt and the hash.
pub(super) fn check_password_hash(user: &str, hash: &str) -> Result<()> {
    let printable = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    let fields = hash.strip_prefix('$').map_or(0, |rest| rest.split('$').filter(|field| !field.is_empty()).count());
    if fields >= 3 && hash.len() <= MAX_HASH && hash.bytes().all(printable) {
        return Ok(());
    }
    // Does not show the value, because it may be the password itself.
    Err(invalid(
        format!("the password_hash of user {user} is not a hash"),
        "hash the password first, as `mkpasswd` or `openssl passwd -6` do",
    ))
}
