//! User, group and capabilities.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use super::{Raised, said};

/// Becomes another user and group, with no other groups.
pub(super) fn become_user(user: Option<u32>, group: Option<u32>) -> Raised {
    let Some(user) = user else { return Err("the settings give no user".to_owned()) };
    let group = group.unwrap_or(user);
    // SAFETY: an empty list of groups.
    checked("give up its groups", unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: it changes this process only.
    checked("change its group", unsafe { libc::setresgid(group, group, group) })?;
    // SAFETY: it changes this process only.
    checked("change its user", unsafe { libc::setresuid(user, user, user) })
}

/// Makes sure that no program that is run can have capabilities.
pub(super) fn give_up_bounds() -> Raised {
    let there = |set: &CapabilitySet| capability_is_in_bounding_set(*set).unwrap_or(false);
    let removed = CapabilitySet::all().iter().filter(there).try_for_each(remove_capability_from_bounding_set);
    said(removed)?;
    said(clear_ambient_capability_set())
}

/// Drops all capabilities.
pub(super) fn drop_capabilities() -> Raised {
    let none = CapabilitySet::empty();
    said(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }))
}

fn checked(what: &str, result: libc::c_int) -> Raised {
    if result == 0 { Ok(()) } else { Err(format!("cannot {what}: {}", io::Error::last_os_error())) }
}
