//! Handles writes to protected memory in this process: userfaultfd (Linux `Documentation/admin-guide/mm/userfaultfd.rst` and
//! ioctl_userfaultfd(2)).
//!
//! A thread, of the guest or of the kernel, that writes a protected page of registered memory waits until it is no longer
//! protected.

use std::fs::OpenOptions;
use std::io;
use std::mem::size_of;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use linux_raw_sys::general::{
    UFFD_API, UFFD_EVENT_PAGEFAULT, UFFD_FEATURE_PAGEFAULT_FLAG_WP, UFFDIO_REGISTER_MODE_WP, uffd_msg, uffdio_api,
    uffdio_range, uffdio_register, uffdio_writeprotect,
};
use linux_raw_sys::ioctl::{UFFDIO_API, UFFDIO_REGISTER, UFFDIO_WAKE, UFFDIO_WRITEPROTECT};
use rustix::io::retry_on_intr;

/// `USERFAULTFD_IOC_NEW`, from `linux/userfaultfd.h`.
const NEW: libc::Ioctl = 0xaa00;
/// `UFFDIO_WRITEPROTECT_MODE_WP`, from `linux/userfaultfd.h`.
const PROTECT: u64 = 1;
/// How many events are read at once.
const EVENTS: usize = 64;

/// A userfaultfd that handles writes to protected pages. Dropping it lets all threads that wait go on.
#[derive(Debug)]
pub(crate) struct Userfault(OwnedFd);

impl Userfault {
    /// Opens one that handles faults of the kernel as well, such as KVM's and those of reads from disks.
    ///
    /// # Errors
    /// `PermissionDenied`: the host's probe says what to do about it. `InvalidInput`: the kernel cannot handle these
    /// faults.
    pub(crate) fn open() -> io::Result<Self> {
        let fault = Self(create()?);
        let mut api = uffdio_api { api: UFFD_API.into(), features: UFFD_FEATURE_PAGEFAULT_FLAG_WP.into(), ioctls: 0 };
        // SAFETY: UFFDIO_API reads and writes a `uffdio_api`.
        unsafe { fault.call(UFFDIO_API, &mut api) }?;
        Ok(fault)
    }

    /// Handles writes to protected pages in `range`, which begins and ends with pages.
    ///
    /// # Errors
    /// The kernel cannot handle them for memory of this kind.
    ///
    /// # Safety
    /// `range` must be mapped, and must contain nothing but guest memory, until this is dropped.
    pub(crate) unsafe fn register(&self, range: &Range<usize>) -> io::Result<()> {
        let mut register =
            uffdio_register { range: kernel_range(range), mode: UFFDIO_REGISTER_MODE_WP.into(), ioctls: 0 };
        // SAFETY: UFFDIO_REGISTER reads and writes a `uffdio_register`; the caller vouches for the memory.
        unsafe { self.call(UFFDIO_REGISTER, &mut register) }
    }

    /// Protects the pages of registered memory that are there, also those that are swapped out, against writes.
    pub(crate) fn protect(&self, range: &Range<usize>) -> io::Result<()> {
        self.set_protection(range, PROTECT)
    }

    /// Lets the pages be written again, and wakes the threads that wait to do so.
    pub(crate) fn unprotect(&self, range: &Range<usize>) -> io::Result<()> {
        self.set_protection(range, 0)
    }

    fn set_protection(&self, range: &Range<usize>, mode: u64) -> io::Result<()> {
        loop {
            let mut change = uffdio_writeprotect { range: kernel_range(range), mode };
            // SAFETY: UFFDIO_WRITEPROTECT reads a `uffdio_writeprotect`.
            match unsafe { self.call(UFFDIO_WRITEPROTECT, &mut change) } {
                // The address space is changing at this moment.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                changed => return changed,
            }
        }
    }

    /// Wakes the threads that wait in `range`. Those whose page is still protected wait again.
    pub(crate) fn wake(&self, range: &Range<usize>) -> io::Result<()> {
        // SAFETY: UFFDIO_WAKE reads a `uffdio_range`.
        unsafe { self.call(UFFDIO_WAKE, &mut kernel_range(range)) }
    }

    /// The addresses that threads have begun to wait to write since the last call, without waiting for any; the descriptor
    /// is readable when there are some.
    pub(crate) fn faults(&self) -> io::Result<Vec<usize>> {
        const MESSAGE: usize = size_of::<uffd_msg>();
        let mut bytes = [0; MESSAGE * EVENTS];
        let length = match retry_on_intr(|| rustix::io::read(&self.0, &mut bytes)) {
            Err(rustix::io::Errno::AGAIN) => 0,
            read => read?,
        };
        Ok(bytes[..length].chunks_exact(MESSAGE).filter_map(fault).collect())
    }

    /// # Safety
    /// `operation` must be one that takes this type.
    unsafe fn call<T>(&self, operation: u32, argument: &mut T) -> io::Result<()> {
        // SAFETY: the caller vouches for the type; the value outlives the call.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), operation as libc::Ioctl, std::ptr::from_mut(argument)) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl AsFd for Userfault {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Through the device, whose permissions apply, or else with a capability or where anyone may.
fn create() -> io::Result<OwnedFd> {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    if let Ok(device) = OpenOptions::new().read(true).write(true).open("/dev/userfaultfd") {
        // SAFETY: the operation takes flags by value and uses no memory.
        if let Ok(fd) = take(unsafe { libc::ioctl(device.as_raw_fd(), NEW, flags) }.into()) {
            return Ok(fd);
        }
    }
    // SAFETY: the call takes only flags and uses no memory.
    take(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) })
}

fn take(result: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(result) {
        // SAFETY: a successful system call has just created this descriptor, and it has no other owner.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn kernel_range(range: &Range<usize>) -> uffdio_range {
    uffdio_range { start: range.start as u64, len: range.len() as u64 }
}

/// The address in a message of the kernel, whose layout is that of `struct uffd_msg`.
fn fault(message: &[u8]) -> Option<usize> {
    let address = message.get(16..24)?.try_into().ok().map(u64::from_ne_bytes)?;
    (u32::from(*message.first()?) == UFFD_EVENT_PAGEFAULT).then_some(address as usize)
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

    use super::*;
    use crate::memory::{GuestRam, MemoryBacking, allocate};
    use crate::size::ByteSize;

    const PAGE: usize = 4096;
    const SIZE: usize = 4 << 20;

    fn memory() -> (GuestRam, usize) {
        let memory = allocate(ByteSize::mib(4), &MemoryBacking::default()).unwrap();
        let start = memory.get_host_address(GuestAddress(0)).unwrap() as usize;
        (memory, start)
    }

    fn registered(start: usize) -> Userfault {
        let userfault = Userfault::open().unwrap();
        // SAFETY: this is the memory of the test's guest, which outlives it.
        unsafe { userfault.register(&(start..start + SIZE)) }.unwrap();
        userfault
    }

    /// The first address that somebody waits for.
    fn wait(userfault: &Userfault) -> usize {
        loop {
            let mut ready = [rustix::event::PollFd::new(userfault, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut ready, None).unwrap();
            if let Some(address) = userfault.faults().unwrap().pop() {
                return address;
            }
        }
    }

    #[test]
    fn writes_to_protected_pages_wait_and_reads_do_not() {
        let (memory, start) = memory();
        memory.write_slice(&[5; SIZE], GuestAddress(0)).unwrap();
        let userfault = registered(start);
        userfault.protect(&(start..start + SIZE)).unwrap();
        assert_eq!(memory.read_obj::<u8>(GuestAddress(0x20_0000)).unwrap(), 5);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| memory.write_obj(9_u8, GuestAddress(0x20_1000)).unwrap());
            assert_eq!(wait(&userfault), start + 0x20_1000);
            // Awake, it finds the page still protected.
            userfault.wake(&(start..start + SIZE)).unwrap();
            assert_eq!(wait(&userfault), start + 0x20_1000);
            assert_eq!(memory.read_obj::<u8>(GuestAddress(0x20_1000)).unwrap(), 5);
            userfault.unprotect(&(start + 0x20_0000..start + SIZE)).unwrap();
            writer.join().unwrap();
        });
        assert_eq!(memory.read_obj::<u8>(GuestAddress(0x20_1000)).unwrap(), 9);
        drop(userfault);
        memory.write_obj(3_u8, GuestAddress(0)).unwrap();
    }

    #[test]
    fn memory_that_cannot_be_protected_is_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(PAGE as u64).unwrap();
        let region = vm_memory::mmap::MmapRegionBuilder::<()>::new(PAGE)
            .with_file_offset(vm_memory::FileOffset::new(file, 0))
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(libc::MAP_PRIVATE)
            .build()
            .unwrap();
        let start = region.as_ptr() as usize;
        let userfault = Userfault::open().unwrap();
        // SAFETY: nothing else uses the mapping, which outlives the userfaultfd.
        let refused = unsafe { userfault.register(&(start..start + PAGE)) }.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        drop(userfault);
    }
}
