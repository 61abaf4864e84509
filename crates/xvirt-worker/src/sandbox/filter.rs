//! The filter of system calls (seccomp(2)) for the whole process.
//!
//! A call that is not listed fails with `EPERM`, as on the core's own threads, whose stricter filters come on top.

use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use super::{Raised, calls};

/// Installs the filter on the only thread of this process; threads that it starts have it too. `rings` allows io_uring.
pub(super) fn install(rings: bool) -> Raised {
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    // The flags of clone3(2) are in memory, where a filter cannot check them. The C library then uses clone(2).
    let no_clone3 = program([(libc::SYS_clone3, Vec::new())].into(), SeccompAction::Allow, absent);
    let allowed = calls::allowed(rings).and_then(|rules| program(rules, refuse, SeccompAction::Allow));
    for filter in [no_clone3, allowed] {
        let filter = filter.map_err(|error| format!("cannot compile the filter: {error}"))?;
        apply_filter(&filter).map_err(|error| format!("cannot install the filter: {error}"))?;
    }
    Ok(())
}

fn program(rules: calls::Rules, otherwise: SeccompAction, listed: SeccompAction) -> Result<BpfProgram, BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules.into_iter().collect(), otherwise, listed, architecture)?.try_into()
}
