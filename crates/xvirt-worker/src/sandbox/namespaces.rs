//! Namespaces, in which the rest of the host does not exist.

use std::fs;
use std::io;

use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, unshare_unsafe};

use crate::Wall;

/// The walls that are namespaces.
pub(super) const ALL: [(Wall, UnshareFlags); 5] = [
    (Wall::Mounts, UnshareFlags::NEWNS),
    (Wall::Processes, UnshareFlags::NEWPID),
    (Wall::Ipc, UnshareFlags::NEWIPC),
    (Wall::Network, UnshareFlags::NEWNET),
    (Wall::HostName, UnshareFlags::NEWUTS),
];

/// Leaves the host's namespaces, and returns those that it could not leave with the reasons. Without privileges, it first
/// makes a user namespace, which grants them within it.
pub(super) fn unshare(wanted: &[(Wall, UnshareFlags)]) -> Vec<(Wall, String)> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut own_users = Ok(());
    if !capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN)) {
        own_users = user_namespace();
    }
    let leave = |(wall, flag): &(Wall, UnshareFlags)| {
        let error = unshare_now(*flag).err()?;
        let mut reason = format!("cannot leave the host's namespace: {error}");
        if let Err(error) = &own_users {
            reason = format!("{reason}; and cannot make a user namespace, which would allow it: {error}");
        }
        Some((*wall, reason))
    };
    wanted.iter().filter_map(leave).collect()
}

/// Makes a user namespace in which this user is the only one.
fn user_namespace() -> io::Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare_now(UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

fn unshare_now(flag: UnshareFlags) -> io::Result<()> {
    // SAFETY: it does not unshare the table of descriptors, so descriptors stay what they are.
    unsafe { unshare_unsafe(flag) }.map_err(io::Error::from)
}
