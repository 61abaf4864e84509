//! What went wrong: one line for people, or JSON, and an exit status for scripts.

use std::fmt::Display;
use std::process::ExitCode;

use serde_json::{Value, json};
use xvirt_pool::model::error_code;
use xvirt_pool::operation;

use crate::plain::Plain;

/// The exit statuses.
pub const FAILED: u8 = 1;
pub const USAGE: u8 = 2;
pub const UNREACHABLE: u8 = 3;
pub const NOT_FOUND: u8 = 4;
pub const CANCELLED: u8 = 130;

/// The result of every part of the program.
pub type Result<T> = std::result::Result<T, Failure>;

/// A failure that ends the program.
#[derive(Debug)]
pub struct Failure {
    what: String,
    why: String,
    /// XenAPI's error, if it comes from the service.
    error: Option<operation::Failure>,
    status: u8,
}

impl Failure {
    /// `what` failed, on what, and why.
    pub fn new(what: impl Display, why: impl Display) -> Self {
        Self { what: what.to_string(), why: why.to_string(), error: None, status: FAILED }
    }

    /// There is no such object, or several have the name.
    pub fn not_found(what: impl Display, why: impl Display) -> Self {
        Self { status: NOT_FOUND, ..Self::new(what, why) }
    }

    /// The service cannot be reached.
    pub fn unreachable(what: impl Display, why: impl Display) -> Self {
        Self { status: UNREACHABLE, ..Self::new(what, why) }
    }

    /// A verb failed.
    pub fn of_verb(what: impl Display, error: operation::Failure) -> Self {
        let status = match error.code.as_str() {
            "HANDLE_INVALID" | "UUID_INVALID" => NOT_FOUND,
            "TASK_CANCELLED" => CANCELLED,
            _ => FAILED,
        };
        Self { what: what.to_string(), why: described(&error), error: Some(error), status }
    }

    /// Says what was to be done, in place of the verb.
    pub fn doing(self, what: impl Display) -> Self {
        Self { what: what.to_string(), ..self }
    }

    /// XenAPI's code, if the failure comes from the service.
    pub fn code(&self) -> Option<&str> {
        self.error.as_ref().map(|error| error.code.as_str())
    }

    /// Prints the failure to standard error, as JSON or for people; returns the exit status.
    pub fn report(&self, json: bool) -> ExitCode {
        if json {
            let (code, parameters) = match &self.error {
                Some(error) => (json!(error.code), json!(error.parameters)),
                None => (Value::Null, json!([])),
            };
            eprintln!("{}", json!({ "failed": self.what, "why": self.why, "code": code, "parameters": parameters }));
        } else {
            eprintln!("xvirt: {}: {}", Plain(&self.what), Plain(&self.why));
        }
        ExitCode::from(self.status)
    }
}

/// XenAPI's error in a line: the code, its parameters by name, and what to do.
fn described(error: &operation::Failure) -> String {
    let names = error_code(&error.code).and_then(|code| code.parameters).unwrap_or_default();
    let known = error.parameters.len().min(names.len());
    let (named, rest) = error.parameters.split_at(known);
    let named: Vec<_> = names.iter().zip(named).map(|(name, value)| format!("{name} {value}")).collect();
    let mut text = error.code.clone();
    if !named.is_empty() {
        text.push_str(&format!(" ({})", named.join(", ")));
    }
    for remedy in rest {
        text.push_str("; ");
        text.push_str(remedy);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_service_says_the_code_what_it_means_and_what_to_do() {
        let error = operation::Failure::new("VM_BAD_POWER_STATE", ["OpaqueRef:1", "halted", "running"]);
        let failure = Failure::of_verb("cannot start web", error.with_remedy("stop it first"));
        assert_eq!(failure.why, "VM_BAD_POWER_STATE (vm OpaqueRef:1, expected halted, actual running); stop it first");
        assert_eq!((failure.status, failure.code()), (FAILED, Some("VM_BAD_POWER_STATE")));
        let unknown = operation::Failure::new("OURS", ["one", "two"]);
        assert_eq!(described(&unknown), "OURS; one; two");
        assert_eq!(Failure::of_verb("x", operation::Failure::new("UUID_INVALID", ["VM", "1"])).status, NOT_FOUND);
    }
}
