//! GRUB's variables.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// The size limit of all names and values, against scripts that double a value endlessly.
const MAX_BYTES: usize = 256 << 10;

/// The name of a command that is not known here, on which something depends.
pub(super) type Unknown = Rc<str>;

#[derive(Clone, Debug)]
struct Value {
    text: String,
    /// The command that the value may depend on.
    unknown: Option<Unknown>,
}

/// The variables of a script.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    variables: HashMap<String, Value>,
    exported: HashSet<String>,
    bytes: usize,
}

impl Environment {
    /// The value of a variable; empty if it is not set, which is the same to GRUB.
    pub(super) fn get(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", |value| &value.text)
    }

    /// The value of a variable that is set.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.text.as_str())
    }

    /// The command on which the value of a variable may depend.
    pub(super) fn unknown(&self, name: &str) -> Option<Unknown> {
        self.variables.get(name)?.unknown.clone()
    }

    /// Sets a variable, unless the size limit is reached.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.set_doubtful(name, value, None);
    }

    /// Sets a variable to a value that may depend on a command that is not known here.
    pub(super) fn set_doubtful(&mut self, name: &str, value: impl Into<String>, unknown: Option<Unknown>) {
        let text = value.into();
        self.unset(name);
        let size = name.len() + text.len() + 64;
        if self.bytes + size <= MAX_BYTES {
            self.bytes += size;
            self.variables.insert(name.to_owned(), Value { text, unknown });
        }
    }

    /// Notes that a variable may have another value.
    pub(super) fn doubt(&mut self, name: &str, unknown: &Unknown) {
        let text = self.get(name).to_owned();
        self.set_doubtful(name, text, Some(Rc::clone(unknown)));
    }

    pub(super) fn unset(&mut self, name: &str) {
        if let Some((name, value)) = self.variables.remove_entry(name) {
            self.bytes = self.bytes.saturating_sub(name.len() + value.text.len() + 64);
        }
    }

    /// Makes a variable visible in submenus and in the files of `configfile`.
    pub(super) fn export(&mut self, name: &str) {
        // An exported name counts like a variable that is never unset.
        let size = name.len() + 64;
        if self.bytes + size <= MAX_BYTES && self.exported.insert(name.to_owned()) {
            self.bytes += size;
        }
    }

    /// The cost of a copy in steps.
    pub(super) fn copy_steps(&self) -> u32 {
        u32::try_from(self.bytes / 2048).unwrap_or(u32::MAX)
    }

    /// The variables of a submenu: those that are exported.
    pub(super) fn inner(&self) -> Self {
        let mut inner = self.clone();
        inner.variables.retain(|name, _| self.exported.contains(name));
        let of_variables = |(name, value): (&String, &Value)| name.len() + value.text.len() + 64;
        let of_names = inner.exported.iter().map(|name| name.len() + 64).sum::<usize>();
        inner.bytes = inner.variables.iter().map(of_variables).sum::<usize>() + of_names;
        inner
    }
}
