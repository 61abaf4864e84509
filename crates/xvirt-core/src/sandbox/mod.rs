//! Seccomp filters (seccomp(2)) for device threads.
//!
//! These threads parse guest-controlled data. A compromised thread can still only make the system calls that its work
//! needs: it cannot start a program, open a file, or connect to anything but Unix sockets, and to those only if that is
//! its work.
//!
//! Forbidden system calls fail with `EPERM`. The alternatives do not suit a library: killing the thread would leave
//! other threads waiting for it, killing the process would end all other VMs and the program, and the process-wide
//! handler of `SIGSYS` belongs to the program. Only a system call of another architecture, which no compiler generates,
//! kills the process. Filters cannot be removed, and a new thread inherits those of its creator. So only device threads
//! have filters, except those that call backends of the program. vCPU threads have none, because they start device
//! threads.
//!
//! Requests in an io_uring are not system calls, so filters do not apply to them: the thread of a disk with a ring is
//! less confined than others.
//!
//! The program's log subscriber runs on these threads too. It can write to open files, but cannot open any: it must
//! open the log file and read the time zone beforehand.
//!
//! `calls` lists the allowed calls; `filter` installs them.

#[cfg(feature = "seccomp")]
mod calls;
#[cfg(feature = "seccomp")]
mod filter;
#[cfg(not(feature = "seccomp"))]
#[path = "without_seccomp.rs"]
mod filter;
#[cfg(feature = "seccomp")]
#[cfg(test)]
mod tests;

pub(crate) use filter::{Filter, require};

/// The kind of work of a thread, which determines its system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Moves bytes between guest memory and this process.
    Memory,
    /// Reads and writes disk images.
    Disk,
    /// Moves frames.
    Network,
    /// Connects the guest to Unix sockets of the host.
    Sockets,
}
