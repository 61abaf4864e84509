//! How a verb fails.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Caller;
use crate::model::{RoleName, Roles};

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

    /// The failure of a caller whose role does not allow what it wishes to do.
    pub(crate) fn permission_denied(permission: &str, caller: &Caller, roles: Roles) -> Self {
        let role = caller.role().map_or("none", RoleName::as_str);
        let allowed =
            roles.iter().filter(|role| *role != RoleName::ClientCert).map(RoleName::as_str).collect::<Vec<_>>();
        let allowed = if allowed.is_empty() { "root on the host itself".to_owned() } else { allowed.join(", ") };
        let message = format!("the role {role} does not allow this; it takes one of: {allowed}");
        Self::new("RBAC_PERMISSION_DENIED", [permission.to_lowercase(), message])
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
