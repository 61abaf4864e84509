//! The system calls that test features. Each is harmless: the resulting descriptor is closed at once.

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;

use kvm_ioctls::Kvm;
use rustix::io::Errno;

/// `USERFAULTFD_IOC_NEW`, from `linux/userfaultfd.h`.
const USERFAULTFD_IOC_NEW: libc::Ioctl = 0xaa00;

/// A KVM through an open `/dev/kvm`.
pub(crate) fn kvm_of(device: OwnedFd) -> Kvm {
    // SAFETY: the descriptor is open, and nobody else owns it. The calls of a KVM that is none fail.
    unsafe { Kvm::from_raw_fd(device.into_raw_fd()) }
}

/// Tries to set up an io_uring with one entry.
pub(super) fn try_io_uring() -> Result<(), Errno> {
    // `struct io_uring_params`, all zeroes: no flags.
    let mut params = [0u64; 15];
    // SAFETY: the kernel reads and writes 120 bytes at the pointer, the size of `params`, which outlives the call.
    take(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) })
}

/// Tries to create a userfaultfd that also handles faults of the kernel, such as KVM's.
pub(super) fn try_userfaultfd() -> Result<(), Errno> {
    // SAFETY: the call takes only flags and uses no memory.
    take(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) })
}

/// Tries to create one through the device at `path`, whose permissions apply instead of a capability.
pub(super) fn try_userfaultfd_device(path: &Path) -> Result<(), Errno> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    // SAFETY: the operation takes flags by value and uses no memory.
    take(unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW, libc::O_CLOEXEC) }.into())
}

fn take(result: libc::c_long) -> Result<(), Errno> {
    match RawFd::try_from(result) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: a successful system call has just created this descriptor, and it has no other owner.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            Ok(())
        }
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
