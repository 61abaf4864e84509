//! Output for people and for programs.

use std::fmt::{self, Display};
use std::io::Write;

use serde::Serialize;

use crate::failure::{Failure, Result};

/// Lines of names and values, with the values aligned.
#[derive(Debug, Default)]
pub struct Table(String);

impl Table {
    /// Adds a line, unless the value is empty.
    pub fn line(&mut self, name: &str, value: impl Display) {
        let value = Plain(value).to_string();
        if !value.trim().is_empty() {
            self.0.push_str(format!("{name:12} {value}").trim_end());
            self.0.push('\n');
        }
    }

    pub fn print(self) -> Result<()> {
        print(&self.0)
    }
}

/// A size in bytes, formatted for people.
#[derive(Debug)]
pub struct Size(pub u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // indicatif is a dependency anyway.
        write!(f, "{}", indicatif::BinaryBytes(self.0))
    }
}

/// Untrusted text, on one line and without characters that control a terminal.
#[derive(Debug)]
pub struct Plain<T>(pub T);

impl<T: Display> Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(&text.replace(|char: char| char.is_control(), " "))
    }
}

/// Prints a value as JSON.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new("cannot write JSON", error))?;
    print(&format!("{text}\n"))
}

/// Prints text.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match printed {
        // The reader may have closed the pipe.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new("standard output", error)),
        _ => Ok(()),
    }
}
