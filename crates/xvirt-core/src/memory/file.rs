//! Files that hold guest memory: created here, or passed by the program or another process.

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;

use rustix::fs::{FileType, SealFlags, fcntl_add_seals, fcntl_get_seals, fstatfs};

use crate::descriptor::{Descriptor, Use};
use crate::size::ByteSize;
use crate::{Error, Result};

/// `HUGETLBFS_MAGIC` of linux/magic.h.
const HUGETLBFS: i64 = 0x9584_58f6;
const WHAT: &str = "guest memory";
/// The page size without huge pages.
const PAGE: u64 = 4096;
/// File systems on disks of this host, by their numbers in linux/magic.h: ext4, XFS, Btrfs, F2FS, bcachefs and ZFS. An
/// error of another one, such as NFS, would be a SIGBUS under a mapping. So would the first access to a hole on a tmpfs
/// that is full, which may also be below an overlayfs.
const LOCAL: [i64; 6] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0xca45_1a4e, 0x2fc1_2fc1];

/// An unnamed file in memory, of huge pages if so configured. Nobody who gets its descriptor can change its length: an
/// access beyond the end of a mapped file kills the process.
pub(super) fn make(length: u64, huge_pages: bool) -> io::Result<File> {
    let mut flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    if huge_pages {
        flags |= libc::MFD_HUGETLB;
    }
    // SAFETY: the name is a NUL-terminated constant; the result is checked.
    let fd = unsafe { libc::memfd_create(c"xvirt-guest-memory".as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else owns it.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(length)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// Takes a file from the program, if it can hold `size` of guest memory.
pub(super) fn given(descriptor: &Descriptor, size: ByteSize, huge_pages: bool) -> Result<File> {
    let file = descriptor.file(WHAT, &[FileType::RegularFile], Use::ReadWrite)?;
    require_length(descriptor, &file, size)?;
    require_writable(descriptor, &file)?;
    let page = page_size(descriptor, &file, huge_pages)?;
    if size.bytes().is_multiple_of(page) {
        return Ok(file);
    }
    let page = ByteSize::new(page);
    let why = format!("its huge pages have {page}, and the VM {size}");
    Err(descriptor.unfit(WHAT, &why).with_remedy(format!("give the VM memory in steps of {page}")))
}

/// Takes a file that another process passed, if it holds `length` of guest memory from `offset` on, and always will:
/// that process still has the file.
pub(super) fn passed(descriptor: &Descriptor, offset: u64, length: u64, huge_pages: bool) -> Result<File> {
    let file = descriptor.file(WHAT, &[FileType::RegularFile], Use::ReadWrite)?;
    // Before the length is read, which cannot decrease from then on.
    require_no_shrinking(descriptor, &file)?;
    require_writable(descriptor, &file)?;
    let end = offset.checked_add(length).ok_or_else(|| descriptor.unfit(WHAT, "no file is as long as its offset"))?;
    require_length(descriptor, &file, ByteSize::new(end))?;
    let page = page_size(descriptor, &file, huge_pages)?;
    if offset.is_multiple_of(page) && length.is_multiple_of(page) {
        return Ok(file);
    }
    let why =
        format!("its pages have {}, and {length} bytes from {offset} on are not whole pages", ByteSize::new(page));
    Err(descriptor.unfit(WHAT, &why))
}

/// Fails unless nobody can make the file shorter.
pub(super) fn require_no_shrinking(descriptor: &Descriptor, file: &File) -> Result<()> {
    if seals(file).contains(SealFlags::SHRINK) {
        return Ok(());
    }
    Err(descriptor
        .unfit(WHAT, "others could shrink it, which would kill a process that uses it")
        .with_remedy("use a memory file that is sealed before its VM starts: memfd_create(2), F_SEAL_SHRINK"))
}

fn require_writable(descriptor: &Descriptor, file: &File) -> Result<()> {
    if seals(file).intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) {
        return Err(descriptor.unfit(WHAT, "it is sealed against writing").with_remedy("do not set that seal"));
    }
    Ok(())
}

/// A file that does not support seals has none.
fn seals(file: &File) -> SealFlags {
    fcntl_get_seals(file).unwrap_or(SealFlags::empty())
}

fn require_length(descriptor: &Descriptor, file: &File, needed: ByteSize) -> Result<()> {
    let length = file.metadata().map_err(|error| failed(descriptor, error))?.len();
    if length >= needed.bytes() {
        return Ok(());
    }
    let why = format!("it has {}, and the VM {needed}", ByteSize::new(length));
    Err(descriptor.unfit(WHAT, &why).with_remedy("make the file as large as the memory: ftruncate(2)"))
}

/// The size of the file's pages, which must be huge or not, as the VM is configured.
fn page_size(descriptor: &Descriptor, file: &File, huge_pages: bool) -> Result<u64> {
    let system = fstatfs(file).map_err(|errno| failed(descriptor, errno.into()))?;
    match (system.f_type == HUGETLBFS, huge_pages) {
        (true, false) => Err(descriptor
            .unfit(WHAT, "it has huge pages")
            .with_remedy("turn huge pages on for this VM: VmConfig::huge_pages")),
        (false, true) => Err(descriptor
            .unfit(WHAT, "it has no huge pages")
            .with_remedy("make it with MFD_HUGETLB or in a hugetlbfs, or turn huge pages off for this VM")),
        (true, true) => Ok(u64::try_from(system.f_bsize).unwrap_or(1).max(1)),
        (false, false) => Ok(PAGE),
    }
}

/// Whether a file is on a file system of a disk of this host, so that it can be mapped.
pub(crate) fn is_local(file: &File) -> bool {
    fstatfs(file).is_ok_and(|system| LOCAL.contains(&system.f_type))
}

fn failed(descriptor: &Descriptor, error: io::Error) -> Error {
    Error::io(format!("cannot use {} as {WHAT}", descriptor.name()), error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::ErrorKind;
    use crate::memory::{MemoryBacking, allocate};

    fn sealable(length: u64) -> File {
        // SAFETY: the name is a NUL-terminated constant; the result is checked.
        let fd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        assert!(fd >= 0);
        // SAFETY: the descriptor was just made and nobody else owns it.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(length).unwrap();
        file
    }

    fn with(file: File) -> MemoryBacking {
        MemoryBacking { file: Some(file.into()), ..MemoryBacking::default() }
    }

    #[test]
    fn a_file_of_a_tmpfs_is_not_mapped_because_it_may_be_full() {
        assert!(!is_local(&make(4096, false).unwrap()));
    }

    #[test]
    fn guest_memory_is_the_file_and_follows_without_the_hole() {
        let file = sealable(4 << 30);
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        file.write_all_at(b"before", 0x1000).unwrap();
        let ram = allocate(ByteSize::gib(4), &with(file.try_clone().unwrap())).unwrap();
        let mut bytes = [0; 6];
        ram.read_slice(&mut bytes, GuestAddress(0x1000)).unwrap();
        assert_eq!(&bytes, b"before");
        ram.write_slice(b"high", GuestAddress(4 << 30)).unwrap();
        file.read_exact_at(&mut bytes[..4], 3 << 30).unwrap();
        assert_eq!(&bytes[..4], b"high");
    }

    #[test]
    fn a_file_that_cannot_hold_the_memory_is_refused() {
        let refused = |file: File, huge_pages: bool| {
            let descriptor = Descriptor::from(file);
            let backing = MemoryBacking { huge_pages, file: Some(descriptor.clone()), ..MemoryBacking::default() };
            let error = allocate(ByteSize::mib(4), &backing).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            error.to_string().replace(&descriptor.name(), "descriptor N")
        };
        let sealed = sealable(4 << 20);
        fcntl_add_seals(&sealed, SealFlags::WRITE).unwrap();
        for (file, huge_pages, text) in [
            (
                sealable(2 << 20),
                false,
                "it has 2 MiB, and the VM 4 MiB; make the file as large as the memory: ftruncate(2)",
            ),
            (sealed, false, "it is sealed against writing; do not set that seal"),
            (
                sealable(4 << 20),
                true,
                "it has no huge pages; make it with MFD_HUGETLB or in a hugetlbfs, or turn huge pages off for this VM",
            ),
            (
                File::open("/proc/self/exe").unwrap(),
                false,
                "it is not open for writing; open the file for reading and writing, or let the VM only read it",
            ),
        ] {
            assert_eq!(refused(file, huge_pages), format!("cannot use descriptor N as guest memory: {text}"));
        }
    }
}
