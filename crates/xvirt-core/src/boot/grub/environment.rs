//! GRUB's variables, and the environment block that stores some of them on disk.

use std::collections::HashMap;

/// The size limit of all names and values, against scripts that double a value endlessly.
const MAX_BYTES: usize = 256 << 10;

/// The variables of a script.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    variables: HashMap<String, String>,
    bytes: usize,
}

impl Environment {
    /// The value of a variable; empty if it is not set, which is the same to GRUB.
    pub(super) fn get(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// Sets a variable, unless the size limit is reached.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        self.unset(name);
        let size = name.len() + value.len() + 64;
        if self.bytes + size <= MAX_BYTES {
            self.bytes += size;
            self.variables.insert(name.to_owned(), value);
        }
    }

    pub(super) fn unset(&mut self, name: &str) {
        if let Some((name, value)) = self.variables.remove_entry(name) {
            self.bytes = self.bytes.saturating_sub(name.len() + value.len() + 64);
        }
    }

    /// Loads the variables of an environment block; only those in `names`, unless that is empty.
    pub(super) fn load_block(&mut self, block: &str, names: &[String]) {
        for (name, value) in variables_of_block(block) {
            if names.is_empty() || names.iter().any(|wanted| wanted == name) {
                self.set(name, value);
            }
        }
    }
}

/// The variables in a `grubenv` file.
fn variables_of_block(block: &str) -> impl Iterator<Item = (&str, String)> {
    let lines = block.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name, value.replace("\\\\", "\\")))
}
