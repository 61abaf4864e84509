use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

use super::*;
use crate::ErrorKind;

const EVERY: [Work; 4] = [Work::Memory, Work::Disk, Work::Network, Work::Sockets];

/// The result of `call` on a thread with a filter.
fn under<T: Send + 'static>(work: Work, call: impl FnOnce() -> T + Send + 'static) -> T {
    let filter = Filter::new(work).unwrap();
    let thread = thread::spawn(move || {
        filter.apply().unwrap();
        call()
    });
    thread.join().unwrap()
}

fn is_refused<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
}

fn answer(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[test]
fn no_thread_opens_connects_or_starts_anything() {
    for work in EVERY {
        under(work, move || {
            assert!(is_refused(fs::File::open("/proc/self/status")), "{work:?}: open");
            assert!(is_refused(fs::write("/dev/null", "x")), "{work:?}: open to write");
            assert!(is_refused(fs::remove_file("/nothing")), "{work:?}: unlink");
            assert!(is_refused(TcpListener::bind("127.0.0.1:0")), "{work:?}: TCP");
            assert!(is_refused(UdpSocket::bind("127.0.0.1:0")), "{work:?}: UDP");
            let unix = UnixStream::connect("/nothing");
            assert!(is_refused(unix) != (work == Work::Sockets), "{work:?}: Unix");
            assert!(is_refused(Command::new("/bin/true").status()), "{work:?}: a program");
        });
    }
}

#[test]
fn no_thread_gets_at_other_processes_or_makes_code() {
    for work in EVERY {
        under(work, move || {
            // SAFETY: a NUL-terminated name and NULL-terminated arguments; if the call is not refused, the process is
            // replaced, and the test fails.
            let exec = answer(unsafe {
                libc::syscall(libc::SYS_execve, c"/bin/false".as_ptr(), [0_usize].as_ptr(), [0_usize].as_ptr())
            });
            assert!(is_refused(exec), "{work:?}: execve");
            // SAFETY: signal 0 only checks whether a signal could be sent.
            assert!(is_refused(answer(unsafe { libc::syscall(libc::SYS_kill, 1, 0) })), "{work:?}: kill");
            // SAFETY: a refused call traces nothing.
            assert!(is_refused(answer(unsafe { libc::syscall(libc::SYS_ptrace, 0, 0, 0, 0) })), "{work:?}: ptrace");
            // SAFETY: a new mapping at an address chosen by the kernel.
            let code = unsafe {
                let protection = libc::PROT_READ | libc::PROT_EXEC;
                libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
            };
            assert_eq!(code, libc::MAP_FAILED, "{work:?}: executable memory");
            // SAFETY: a child would share nothing and end at once.
            let child = answer(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) });
            assert!(is_refused(child), "{work:?}: fork");
        });
    }
}

#[test]
fn a_thread_lives_allocates_logs_and_panics_as_any() {
    for work in EVERY {
        under(work, || {
            eprintln!("{} bytes", vec![1; 16 << 20].len());
            thread::sleep(std::time::Duration::from_millis(1));
            assert!(std::panic::catch_unwind(|| panic!("a panic that is caught")).is_err());
        });
    }
}

#[test]
fn threads_for_disks_start_more_that_are_filtered_too() {
    let child = under(Work::Disk, || thread::spawn(|| is_refused(fs::File::open("/proc/self/status"))).join().unwrap());
    assert!(child);
    assert!(under(Work::Memory, || is_refused(thread::Builder::new().spawn(|| ()))));
}

#[test]
fn the_kernel_is_asked_before() {
    match require() {
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::HostUnsupported),
    }
}
