//! Files that hold guest memory: created here, or passed by the program.

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;

use rustix::fs::{FileType, SealFlags, fcntl_get_seals, fstatfs};

use crate::descriptor::{Descriptor, Use};
use crate::size::ByteSize;
use crate::{Error, Result};

/// `HUGETLBFS_MAGIC` of linux/magic.h.
const HUGETLBFS: i64 = 0x9584_58f6;
const WHAT: &str = "guest memory";

/// An unnamed file in memory, of huge pages if so configured.
pub(super) fn make(length: u64, huge_pages: bool) -> io::Result<File> {
    let mut flags = libc::MFD_CLOEXEC;
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
    Ok(file)
}

/// Takes a file from the program, if it can hold `size` of guest memory.
pub(super) fn given(descriptor: &Descriptor, size: ByteSize, huge_pages: bool) -> Result<File> {
    let file = descriptor.file(WHAT, &[FileType::RegularFile], Use::ReadWrite)?;
    let length = file.metadata().map_err(|error| failed(descriptor, error))?.len();
    if length < size.bytes() {
        let why = format!("it has {}, and the VM {size}", ByteSize::new(length));
        return Err(descriptor.unfit(WHAT, &why).with_remedy("make the file as large as the memory: ftruncate(2)"));
    }
    // A file that does not support seals has none.
    let seals = fcntl_get_seals(&file).unwrap_or(SealFlags::empty());
    if seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) {
        return Err(descriptor.unfit(WHAT, "it is sealed against writing").with_remedy("do not set that seal"));
    }
    let system = fstatfs(&file).map_err(|errno| failed(descriptor, errno.into()))?;
    match (system.f_type == HUGETLBFS, huge_pages) {
        (true, false) => Err(descriptor
            .unfit(WHAT, "it has huge pages")
            .with_remedy("turn huge pages on for this VM: VmConfig::huge_pages")),
        (false, true) => Err(descriptor
            .unfit(WHAT, "it has no huge pages")
            .with_remedy("make it with MFD_HUGETLB or in a hugetlbfs, or turn huge pages off for this VM")),
        (true, true) if !size.bytes().is_multiple_of(u64::try_from(system.f_bsize).unwrap_or(1).max(1)) => {
            let page = ByteSize::new(u64::try_from(system.f_bsize).unwrap_or(1));
            let why = format!("its huge pages have {page}, and the VM {size}");
            Err(descriptor.unfit(WHAT, &why).with_remedy(format!("give the VM memory in steps of {page}")))
        }
        _ => Ok(file),
    }
}

fn failed(descriptor: &Descriptor, error: io::Error) -> Error {
    Error::io(format!("cannot use {} as {WHAT}", descriptor.name()), error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use rustix::fs::fcntl_add_seals;
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
