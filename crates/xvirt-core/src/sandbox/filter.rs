//! Compiles rules to a filter and installs it on the calling thread.

use std::fmt;
use std::io;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, apply_filter};

use super::{Work, calls};
use crate::{Error, ErrorKind, Result};

/// A filter for a kind of thread.
#[derive(Clone)]
pub(crate) struct Filter {
    work: Work,
    /// Rejects clone3(2), whose flags are in memory where a filter cannot check them. The C library then uses clone(2),
    /// whose flags are an argument.
    no_clone3: BpfProgram,
    allowed: BpfProgram,
}

impl Filter {
    /// The filter for a kind of work.
    pub(crate) fn new(work: Work) -> Result<Self> {
        let refuse = SeccompAction::Errno(libc::EPERM as u32);
        let absent = SeccompAction::Errno(libc::ENOSYS as u32);
        Ok(Self {
            work,
            no_clone3: program([(libc::SYS_clone3, Vec::new())], SeccompAction::Allow, absent)?,
            allowed: program(calls::of(work)?, refuse, SeccompAction::Allow)?,
        })
    }

    /// Installs the filter on the calling thread, permanently.
    pub(crate) fn apply(&self) -> Result<()> {
        let failed = |error| unsupported("cannot install a seccomp filter on a thread").because(error);
        apply_filter(&self.no_clone3).map_err(failed)?;
        apply_filter(&self.allowed).map_err(failed)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.work).finish()
    }
}

fn program(
    rules: impl IntoIterator<Item = (i64, Vec<SeccompRule>)>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH);
    let filter = architecture.and_then(|a| SeccompFilter::new(rules.into_iter().collect(), otherwise, listed, a));
    filter.and_then(BpfProgram::try_from).map_err(invalid)
}

/// The error for rules that cannot be compiled.
pub(super) fn invalid(error: seccompiler::BackendError) -> Error {
    unsupported("cannot compile a seccomp filter for this host").because(error)
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::HostUnsupported, what).with_remedy("turn seccomp off for this VM (VmConfig::seccomp)")
}

/// Checks that this kernel supports filters that return an error.
pub(crate) fn require() -> Result<()> {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the call reads the four bytes at `action`, and has no side effects.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    if answer == 0 {
        return Ok(());
    }
    Err(unsupported("the kernel does not support seccomp filters").because(io::Error::last_os_error()))
}
