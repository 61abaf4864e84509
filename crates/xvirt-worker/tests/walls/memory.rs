//! Limits of memory and descriptors.

use std::io;

use xvirt_worker::Wall;

use crate::child::{Outcome, checked, with_limit};

fn allocate() -> io::Result<()> {
    const SIZE: usize = 64 << 20;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address chosen by the kernel.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[test]
fn more_memory_than_allowed() {
    assert_eq!(with_limit(32 << 20, &[], allocate), Outcome::Worked);
    assert_eq!(with_limit(32 << 20, &[Wall::Limits], allocate), Outcome::Refused(libc::ENOMEM));
    assert_eq!(with_limit(1 << 30, &[Wall::Limits], allocate), Outcome::Worked);
}

#[test]
fn no_core_dump_has_the_memory_of_a_guest() {
    let limited = || {
        let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        // SAFETY: the kernel writes to the struct.
        checked(unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) })?;
        if limit.rlim_max == 0 { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    };
    assert_eq!(with_limit(1 << 30, &[Wall::Limits], limited), Outcome::Worked);
}
