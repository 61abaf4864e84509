//! Failures reach the requester and affect no other request.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};

use crate::memory::GuestSlice;

use super::*;

/// A disk in memory that cannot grow, or with `F_SEAL_WRITE`, cannot be written.
fn sealed(length: u64, seals: libc::c_int) -> (File, Arc<dyn BlockBackend>) {
    // SAFETY: the name is a constant, and the result is checked.
    let descriptor = unsafe { libc::memfd_create(c"sealed".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    assert!(descriptor >= 0);
    // SAFETY: it was just created and has no other owner.
    let file = unsafe { File::from_raw_fd(descriptor) };
    file.set_len(length).unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let disk = disk::open(path, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    // SAFETY: the call takes no pointer.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) }, 0);
    (file, disk)
}

#[test]
fn a_failed_write_says_what_the_host_said() {
    for choice in ENGINES {
        let (_file, disk) = sealed(1 << 20, libc::F_SEAL_WRITE);
        let Some(mut rig) = Rig::new(&disk, choice) else { continue };
        for block in 0..4 {
            rig.engine.add(rig.transfer(IoOperation::Write, block * BLOCK, &[(0, BLOCK as u32)]));
        }
        rig.engine.submit();
        let ended = rig.all();
        assert_eq!(ended.len(), 4);
        for request in ended {
            let failure = request.outcome.unwrap_err();
            assert_eq!(failure.error.raw_os_error(), Some(libc::EPERM));
            assert_eq!((failure.operation, failure.range.start), (IoOperation::Write, request.token as u64));
        }
        rig.one(rig.transfer(IoOperation::Read, 0, &[(0, 4096)])).unwrap();
    }
}

#[test]
fn a_write_that_only_begins_to_fit_fails() {
    for choice in ENGINES {
        // The last sector is partial, and the file cannot grow.
        let (_file, disk) = sealed(5 * BLOCK + 256, libc::F_SEAL_GROW);
        let Some(mut rig) = Rig::new(&disk, choice) else { continue };
        let failure = rig.one(rig.transfer(IoOperation::Write, 4 * BLOCK, &[(0, 4096 + 512)])).unwrap_err();
        assert_eq!(failure.range, 4 * BLOCK..5 * BLOCK + 512);
        rig.one(rig.transfer(IoOperation::Write, 4 * BLOCK, &[(0, 4096)])).unwrap();
        rig.fill(0, &[9; 512]);
        rig.one(rig.transfer(IoOperation::Read, 5 * BLOCK, &[(0, 512)])).unwrap();
        assert_eq!(rig.bytes(0, 512), [0; 512]);
    }
}

#[test]
fn a_file_that_became_shorter_is_an_error_where_it_is_missing() {
    for choice in ENGINES {
        let (file, disk) = sealed(1 << 20, 0);
        let Some(mut rig) = Rig::new(&disk, choice) else { continue };
        file.set_len(6 * BLOCK + 100).unwrap();
        let failure = rig.one(rig.transfer(IoOperation::Read, 5 * BLOCK, &[(0, 8192)])).unwrap_err();
        assert_eq!(failure.error.kind(), io::ErrorKind::UnexpectedEof);
        rig.one(rig.transfer(IoOperation::Read, 5 * BLOCK, &[(0, 4096)])).unwrap();
    }
}

/// A backend of an embedder that panics.
#[derive(Debug)]
struct Panicking;

impl BlockBackend for Panicking {
    fn capacity(&self) -> u64 {
        1 << 20
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, _: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        assert_ne!(offset, 0);
        Ok(())
    }

    fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_backend_that_panics_fails_the_request_and_no_other() {
    let disk: Arc<dyn BlockBackend> = Arc::new(Panicking);
    let mut rig = Rig::new(&disk, IoEngine::Threads).unwrap();
    for block in (0..40).rev() {
        rig.engine.add(rig.transfer(IoOperation::Read, block * BLOCK, &[(0, 4096)]));
    }
    rig.engine.submit();
    let failed: Vec<_> = rig.all().into_iter().filter(|request| request.outcome.is_err()).collect();
    assert_eq!(failed.iter().map(|request| request.token).collect::<Vec<_>>(), [0]);
    assert!(failed[0].outcome.as_ref().unwrap_err().error.to_string().contains("panicked"));
}

/// Makes the kernel refuse system call `number` to this thread, like the seccomp filter of a container.
fn forbid(number: libc::c_long) {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the first call uses no memory, and the second reads a program that outlives it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

#[test]
fn a_host_that_refuses_io_uring_gets_threads() {
    let folder = tempfile::tempdir().unwrap();
    let disk = image(folder.path(), ImageFormat::Raw, 1 << 20);
    // The filter applies only to this thread, which ends with the test.
    let refused = std::thread::spawn(move || {
        forbid(libc::SYS_io_uring_setup);
        let error = Engine::new(Arc::clone(&disk), IoEngine::IoUring).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::HostUnsupported);
        assert!(error.to_string().contains("or choose auto or threads"), "{error}");
        let mut rig = Rig::new(&disk, IoEngine::Auto).unwrap();
        assert_eq!(rig.engine.kind(), IoEngine::Threads);
        rig.one(rig.transfer(IoOperation::Write, 0, &[(0, 4096)])).unwrap();
    });
    refused.join().unwrap();
}

#[test]
fn io_uring_that_is_forbidden_later_hands_over_to_threads() {
    let folder = tempfile::tempdir().unwrap();
    let disk = image(folder.path(), ImageFormat::Raw, 1 << 20);
    let handed_over = std::thread::spawn(move || {
        let Some(mut rig) = Rig::new(&disk, IoEngine::IoUring) else { return };
        rig.fill(0, &pattern(3));
        rig.one(rig.transfer(IoOperation::Write, 0, &[(0, 4096)])).unwrap();
        assert_eq!(rig.engine.kind(), IoEngine::IoUring);
        forbid(libc::SYS_io_uring_enter);
        for block in 0..200 {
            rig.engine.add(rig.transfer(IoOperation::Read, 0, &[((block + 1) * BLOCK, 4096)]));
        }
        rig.engine.submit();
        assert_eq!(rig.all().iter().filter(|request| request.outcome.is_ok()).count(), 200);
        assert_eq!(rig.engine.kind(), IoEngine::Threads);
        assert!((0..200).all(|block| rig.bytes((block + 1) * BLOCK, 4096) == pattern(3)));
    });
    handed_over.join().unwrap();
}
