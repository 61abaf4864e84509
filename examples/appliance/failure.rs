//! Failures of the program: one line for the user, and an exit status for scripts.

use std::fmt::Display;
use std::process::ExitCode;

use crate::table::Plain;
use crate::words::Words;

/// The result of every part of the program.
pub type Result<T> = std::result::Result<T, Failure>;

/// A failure that ends the program.
#[derive(Debug)]
pub struct Failure {
    what: String,
    status: u8,
}

impl Failure {
    /// The operation failed, or an archive is damaged. `subject` is the file or VM.
    pub fn new(subject: impl Display, why: impl Display) -> Self {
        Self { what: format!("{subject}: {why}"), status: 1 }
    }

    /// Ctrl-C was pressed.
    pub fn interrupted() -> Self {
        Self { what: "interrupted".into(), status: 130 }
    }

    /// The arguments are invalid. Joins clap's message to one line.
    pub fn usage(error: &clap::Error) -> Self {
        let text = error.to_string();
        let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let what = lines.join(" ");
        Self { what: format!("{}; see --help", what.strip_prefix("error: ").unwrap_or(&what)), status: 2 }
    }

    /// The arguments are valid each, but not together.
    pub fn misused(what: impl Display) -> Self {
        Self { what: format!("{what}; see --help"), status: 2 }
    }

    /// Adds what holds in spite of the failure.
    pub fn but(self, what: impl Display) -> Self {
        Self { what: format!("{}; {what}", self.what), ..self }
    }

    /// Prints the failure to standard error; returns the exit status.
    pub fn report(&self) -> ExitCode {
        eprintln!("appliance: {}", Plain(Words(&self.what)));
        ExitCode::from(self.status)
    }
}

/// Prints a note to standard error that is no failure.
pub fn note(text: impl Display) {
    eprintln!("appliance: note: {}", Plain(Words(text)));
}

impl From<xvirt_core::Error> for Failure {
    fn from(error: xvirt_core::Error) -> Self {
        Self { what: error.to_string(), status: 1 }
    }
}
