//! Filters of system calls (seccomp(2)) around the threads that serve a guest's devices.
//!
//! These threads read what a guest wrote. Should one ever be led astray by it, it can still only ask the kernel for what
//! its work takes: it starts no program, opens no file, and makes no connection but to Unix sockets where that is its
//! work.
//!
//! What is not allowed fails with `EPERM`. The alternatives do not suit a library: killing the thread would leave
//! everybody waiting for it, killing the process would take all other VMs and the program along, and `SIGSYS` has one
//! handler in a process, which is not ours. Only a system call of another architecture, which no compiler makes, kills
//! the process. Filters cannot be taken off, and threads inherit them from those that start them: so they are put on
//! device threads alone, and not where a thread calls backends of the program that embeds us. vCPU threads have none,
//! because activating a device, which starts threads, is their work.
//!
//! Requests in an io_uring are no system calls, and no filter sees them: the thread of a disk that has a ring is confined
//! less than others.
//!
//! The program's log subscriber runs on these threads too. It may write to what is open and cannot open anything: a file
//! that a log goes on in, or the time zone, it must have opened before.
//!
//! `calls` has the lists, `filter` makes the kernel apply them.

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
