//! A problem of the host.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A feature that the host lacks or that is slow, its consequence for VMs, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProblem {
    /// The problem, such as "KVM is not loaded: there is no /dev/kvm".
    pub what: String,
    /// The consequence, such as "no VM can start".
    pub consequence: String,
    /// The remedy, with a command if there is one.
    pub remedy: String,
}

impl HostProblem {
    pub(super) fn new(what: impl Into<String>, consequence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), consequence: consequence.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for HostProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.consequence, self.remedy)
    }
}
