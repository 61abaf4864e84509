//! How a verb fails.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The error of a verb, as XenAPI reports it: a code, and its parameters as text. The last parameter is what to do, if
/// there is something.
///
/// [`error_code`](crate::model::error_code) knows the codes and the names of their parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The code, such as `VM_BAD_POWER_STATE`.
    pub code: String,
    /// The parameters of the code, then the remedy.
    #[serde(default)]
    pub parameters: Vec<String>,
}

impl Failure {
    /// A failure of this code.
    pub fn new(code: impl Into<String>, parameters: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { code: code.into(), parameters: parameters.into_iter().map(Into::into).collect() }
    }

    /// Adds what to do, as the last parameter.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.parameters.push(remedy.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        if self.parameters.is_empty() { Ok(()) } else { write!(f, ": {}", self.parameters.join(", ")) }
    }
}

impl std::error::Error for Failure {}
