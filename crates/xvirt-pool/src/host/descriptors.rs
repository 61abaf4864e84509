//! The descriptors that a start takes, planned before it.

use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::operation::{Failure, codes};
use crate::worker::config::Records;

/// What a start takes beside its devices: sockets, `/dev/kvm`, kernel, initial RAM disk, exit record, log, control group.
const START: usize = 16;
/// The images of a disk and its bases, usually.
const DISK: usize = 4;
/// What is kept for clients and the store.
const OTHERS: usize = 64;

/// Checks that the service can open everything that a start needs.
///
/// # Errors
/// It cannot; the error says how many it needs, and how many are left.
pub(crate) fn require(records: &Records) -> Result<(), Failure> {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(()) };
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    check(needed(records), usize::try_from(limit).unwrap_or(usize::MAX), open)
}

fn needed(records: &Records) -> usize {
    START + records.disks.len() * DISK + records.nics.len()
}

fn check(needed: usize, limit: usize, open: usize) -> Result<(), Failure> {
    let left = limit.saturating_sub(open).saturating_sub(OTHERS);
    if needed <= left {
        return Ok(());
    }
    Err(codes::internal(format!("a start needs {needed} descriptors, and the service has {left} left of {limit}"))
        .with_remedy("raise the limit of open files of the service (LimitNOFILE), and restart it: VMs run on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_needed_and_left() {
        check(20, 1024, 900).unwrap();
        let failure = check(20, 1024, 950).unwrap_err();
        assert!(failure.parameters[0].contains("needs 20 descriptors, and the service has 10 left"), "{failure}");
        check(20, 64, 1024).unwrap_err();
    }
}
