//! Something a host lacks, in words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something the host lacks or does badly, what follows from it for VMs, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProblem {
    /// What is wrong, as in "KVM is not loaded: there is no /dev/kvm".
    pub what: String,
    /// What follows from it, as in "no VM can start".
    pub consequence: String,
    /// What to do, with the command where there is one.
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
