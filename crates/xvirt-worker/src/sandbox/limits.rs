//! Limits on what the process may use.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Raised, said};

/// Limits private memory and descriptors, if these are given, and leaves no core dumps, which would have the guest's
/// memory.
pub(super) fn set(memory: Option<u64>, open_files: Option<u64>) -> Raised {
    let both = |value: u64| Rlimit { current: Some(value), maximum: Some(value) };
    said(setrlimit(Resource::Core, both(0)))?;
    if let Some(files) = open_files {
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        said(setrlimit(Resource::Nofile, both(files.min(most))))?;
    }
    match memory {
        Some(bytes) => said(setrlimit(Resource::Data, both(bytes))),
        None => Err("the settings give no limit of memory".to_owned()),
    }
}
