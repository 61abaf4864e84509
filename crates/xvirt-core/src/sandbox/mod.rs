//! System call filters (seccomp(2)) for the threads that serve a guest's devices.
//!
//! These threads parse what a guest wrote. A thread that a guest manages to subvert can still only make the system calls that
//! its work takes: it cannot start a program, open a file, or connect to anything but Unix sockets, where that is its work.
//!
//! Forbidden system calls fail with `EPERM`. The alternatives do not suit a library: killing the thread would leave others
//! waiting for it, killing the process would end all other VMs and the program too, and `SIGSYS` has one handler per process,
//! which belongs to the program. Only a system call of another architecture, which no compiler generates, kills the process.
//! Filters cannot be removed, and a thread inherits those of the thread that starts it. So only device threads have filters,
//! and not where such a thread calls the program's own backends. vCPU threads have none, because they start device threads.
//!
//! Requests in an io_uring are not system calls, so filters do not see them: the thread of a disk with a ring is confined less
//! than others.
//!
//! The program's log subscriber runs on these threads too. It can write to files that are open, but cannot open any: it must
//! open the log file and the time zone before.
//!
//! `calls` has the lists of allowed calls; `filter` installs them.

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

/// What a thread does, which says what it may ask the kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Moves bytes between guest memory and this process.
    Memory,
    /// Reads and writes disk images.
    Disk,
    /// Moves frames.
    Network,
    /// Connects the guest with Unix sockets of the host.
    Sockets,
}
