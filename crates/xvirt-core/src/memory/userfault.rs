//! Handles page faults of memory in this process: userfaultfd (Linux `Documentation/admin-guide/mm/userfaultfd.rst` and
//! ioctl_userfaultfd(2)).
//!
//! A thread, of the guest or of the kernel, that touches a missing page of registered memory, or writes a protected one,
//! waits until the page has been filled or is no longer protected.

use std::fs::OpenOptions;
use std::io;
use std::mem::size_of;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use linux_raw_sys::general::{
    UFFD_API, UFFD_EVENT_PAGEFAULT, UFFD_FEATURE_PAGEFAULT_FLAG_WP, UFFDIO_REGISTER_MODE_MISSING,
    UFFDIO_REGISTER_MODE_WP, uffd_msg, uffdio_api, uffdio_copy, uffdio_range, uffdio_register, uffdio_writeprotect,
    uffdio_zeropage,
};
use linux_raw_sys::ioctl::{
    UFFDIO_API, UFFDIO_COPY, UFFDIO_REGISTER, UFFDIO_UNREGISTER, UFFDIO_WAKE, UFFDIO_WRITEPROTECT, UFFDIO_ZEROPAGE,
};
use rustix::io::retry_on_intr;

/// `USERFAULTFD_IOC_NEW`, from `linux/userfaultfd.h`.
const NEW: libc::Ioctl = 0xaa00;
/// `UFFDIO_WRITEPROTECT_MODE_WP`, from `linux/userfaultfd.h`.
const PROTECT: u64 = 1;
/// The page size without huge pages.
const PAGE: usize = 4096;
/// How many events are read at once.
const EVENTS: usize = 64;

/// Faults that are to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faults {
    /// Any access to a page that is not there.
    Missing,
    /// Writes to a page that is protected, since Linux 5.7.
    Protected,
}

/// A userfaultfd. Dropping it lets all threads that wait go on, with missing pages as zeroes.
#[derive(Debug)]
pub(crate) struct Userfault(OwnedFd);

impl Userfault {
    /// Opens one that handles faults of the kernel as well, such as KVM's and those of reads from disks.
    ///
    /// # Errors
    /// `PermissionDenied`: the host's probe says what to do about it. `InvalidInput`: the kernel cannot handle these
    /// faults.
    pub(crate) fn open(faults: Faults) -> io::Result<Self> {
        let fault = Self(create()?);
        let features = match faults {
            Faults::Missing => 0,
            Faults::Protected => UFFD_FEATURE_PAGEFAULT_FLAG_WP,
        };
        let mut api = uffdio_api { api: UFFD_API.into(), features: features.into(), ioctls: 0 };
        // SAFETY: UFFDIO_API reads and writes a `uffdio_api`.
        unsafe { fault.call(UFFDIO_API, &mut api) }?;
        Ok(fault)
    }

    /// Handles the faults in `range`, which begins and ends with pages.
    ///
    /// # Errors
    /// The kernel cannot handle them for memory of this kind.
    ///
    /// # Safety
    /// `range` must be mapped, and must contain nothing but guest memory, until it is unregistered or this is dropped.
    pub(crate) unsafe fn register(&self, range: &Range<usize>, faults: Faults) -> io::Result<()> {
        let mode = match faults {
            Faults::Missing => UFFDIO_REGISTER_MODE_MISSING,
            Faults::Protected => UFFDIO_REGISTER_MODE_WP,
        };
        let mut register = uffdio_register { range: kernel_range(range), mode: mode.into(), ioctls: 0 };
        // SAFETY: UFFDIO_REGISTER reads and writes a `uffdio_register`; the caller vouches for the memory.
        unsafe { self.call(UFFDIO_REGISTER, &mut register) }
    }

    /// Ends the handling of faults in `range`, and wakes the threads that wait there.
    pub(crate) fn unregister(&self, range: &Range<usize>) -> io::Result<()> {
        // SAFETY: UFFDIO_UNREGISTER reads a `uffdio_range`.
        unsafe { self.call(UFFDIO_UNREGISTER, &mut kernel_range(range)) }?;
        // The kernel wakes before it unregisters: since 6.6, a thread may begin to wait between both, for ever.
        self.wake(range)
    }

    /// Fills missing pages from `to` on, which is registered memory, with `bytes`, whole pages, and wakes the threads
    /// that wait for them. Returns how many bytes were filled, which may be fewer.
    ///
    /// # Errors
    /// `AlreadyExists` if the first page is there already; `WouldBlock` if the address space is changing, after which it
    /// can be tried again.
    pub(crate) fn copy(&self, bytes: &[u8], to: usize) -> io::Result<usize> {
        let mut copy =
            uffdio_copy { dst: to as u64, src: bytes.as_ptr() as u64, len: bytes.len() as u64, mode: 0, copy: 0 };
        // SAFETY: UFFDIO_COPY reads and writes a `uffdio_copy`, and reads `bytes`; it only writes registered memory.
        let copied = unsafe { self.call(UFFDIO_COPY, &mut copy) };
        filled(copied, copy.copy)
    }

    /// Fills missing pages of registered memory with zeroes, as [`copy`](Self::copy).
    ///
    /// # Errors
    /// As [`copy`](Self::copy), and `InvalidInput` for huge pages.
    pub(crate) fn zero(&self, range: &Range<usize>) -> io::Result<usize> {
        let mut zero = uffdio_zeropage { range: kernel_range(range), mode: 0, zeropage: 0 };
        // SAFETY: UFFDIO_ZEROPAGE reads and writes a `uffdio_zeropage`, and only fills registered memory.
        let zeroed = unsafe { self.call(UFFDIO_ZEROPAGE, &mut zero) };
        filled(zeroed, zero.zeropage)
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
        let mut left = vec![range.clone()];
        while let Some(range) = left.pop() {
            let mut change = uffdio_writeprotect { range: kernel_range(&range), mode };
            // SAFETY: UFFDIO_WRITEPROTECT reads a `uffdio_writeprotect`.
            match unsafe { self.call(UFFDIO_WRITEPROTECT, &mut change) } {
                // The address space is changing at this moment.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                    left.push(range);
                }
                // Kernels before 6.3 change pages of a single mapping, and guest memory is several.
                Err(error) if error.kind() == io::ErrorKind::NotFound && range.len() > PAGE => {
                    let middle = range.start + (range.len() / 2).next_multiple_of(PAGE);
                    left.extend([middle..range.end, range.start..middle]);
                }
                changed => changed?,
            }
        }
        Ok(())
    }

    /// Wakes the threads that wait in `range`. Those whose page is still missing or protected wait again.
    pub(crate) fn wake(&self, range: &Range<usize>) -> io::Result<()> {
        // SAFETY: UFFDIO_WAKE reads a `uffdio_range`.
        unsafe { self.call(UFFDIO_WAKE, &mut kernel_range(range)) }
    }

    /// The addresses that threads have begun to wait for since the last call, without waiting for any; the descriptor
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

/// How many bytes were filled by a call that may have ended early.
fn filled(called: io::Result<()>, done: i64) -> io::Result<usize> {
    match called {
        Ok(()) => Ok(done.max(0) as usize),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && done > 0 => Ok(done as usize),
        Err(error) => Err(error),
    }
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

    const SIZE: usize = 4 << 20;

    fn memory() -> (GuestRam, usize) {
        let memory = allocate(ByteSize::mib(4), &MemoryBacking::default()).unwrap();
        let start = memory.get_host_address(GuestAddress(0)).unwrap() as usize;
        (memory, start)
    }

    fn registered(start: usize, faults: Faults) -> Userfault {
        let userfault = Userfault::open(faults).unwrap();
        // SAFETY: this is the memory of the test's guest, which outlives it.
        unsafe { userfault.register(&(start..start + SIZE), faults) }.unwrap();
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
    fn missing_pages_are_filled_when_they_are_touched() {
        let (memory, start) = memory();
        let userfault = registered(start, Faults::Missing);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| memory.read_obj::<u8>(GuestAddress(0x1234)).unwrap());
            assert_eq!(wait(&userfault), start + 0x1000);
            assert_eq!(userfault.copy(&[7; 2 * PAGE], start + 0x1000).unwrap(), 2 * PAGE);
            assert_eq!(reader.join().unwrap(), 7);
            assert_eq!(memory.read_obj::<u8>(GuestAddress(0x2fff)).unwrap(), 7);

            let writer = scope.spawn(|| memory.write_obj(9_u8, GuestAddress(0x8000)).unwrap());
            assert_eq!(wait(&userfault), start + 0x8000);
            assert_eq!(userfault.zero(&(start + 0x8000..start + 0x9000)).unwrap(), PAGE);
            writer.join().unwrap();
            assert_eq!(memory.read_obj::<u16>(GuestAddress(0x8000)).unwrap(), 9);

            let reader = scope.spawn(|| memory.read_obj::<u8>(GuestAddress(0x10_0000)).unwrap());
            wait(&userfault);
            userfault.unregister(&(start..start + SIZE)).unwrap();
            assert_eq!(reader.join().unwrap(), 0);
        });
    }

    #[test]
    fn pages_that_are_there_are_not_filled_again() {
        let (memory, start) = memory();
        let userfault = registered(start, Faults::Missing);
        assert_eq!(userfault.copy(&[7; PAGE], start + PAGE).unwrap(), PAGE);
        // The pages before it are filled.
        assert_eq!(userfault.copy(&[5; 2 * PAGE], start).unwrap(), PAGE);
        let there = userfault.copy(&[1; PAGE], start + PAGE).unwrap_err();
        assert_eq!(there.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(userfault.zero(&(start..start + PAGE)).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!([0, 0x1000].map(|at| memory.read_obj::<u8>(GuestAddress(at)).unwrap()), [5, 7]);
    }

    #[test]
    fn writes_to_protected_pages_wait_and_reads_do_not() {
        let (memory, start) = memory();
        memory.write_slice(&[5; SIZE], GuestAddress(0)).unwrap();
        let userfault = registered(start, Faults::Protected);
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
        let userfault = Userfault::open(Faults::Protected).unwrap();
        // SAFETY: nothing else uses the mapping, which outlives the userfaultfd.
        let refused = unsafe { userfault.register(&(start..start + PAGE), Faults::Protected) }.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        drop(userfault);
    }
}
