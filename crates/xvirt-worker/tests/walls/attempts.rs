//! What a guest that has taken over its worker would try.

use std::ffi::CString;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use xvirt_worker::Wall;

use crate::child::{Outcome, Victim, attempt, checked, is_root, refused_by};

const DENIED: &[i32] = &[libc::EPERM];
const NO_ACCESS: &[i32] = &[libc::EACCES];
const ABSENT: &[i32] = &[libc::ENOENT];
const NO_PROCESS: &[i32] = &[libc::ESRCH];
const UNREACHABLE: &[i32] = &[libc::ECONNREFUSED, libc::ENETUNREACH];

#[test]
fn opening_a_file_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "secret").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let path = CString::new(file.as_os_str().as_bytes()).unwrap();
    let open = || {
        // SAFETY: a NUL-terminated path.
        let file = checked(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) })?;
        // SAFETY: it was just opened.
        drop(unsafe { OwnedFd::from_raw_fd(file as i32) });
        Ok(())
    };
    if !is_root() {
        return refused_by(&[(Wall::Mounts, ABSENT), (Wall::Landlock, NO_ACCESS), (Wall::Seccomp, DENIED)], open);
    }
    // Only root may read it.
    let walls =
        [(Wall::Mounts, ABSENT), (Wall::Identity, NO_ACCESS), (Wall::Landlock, NO_ACCESS), (Wall::Seccomp, DENIED)];
    refused_by(&walls, open);
}

#[test]
fn making_a_socket() {
    let make = || {
        // SAFETY: it takes no memory.
        let socket = checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) })?;
        // SAFETY: it was just opened.
        drop(unsafe { OwnedFd::from_raw_fd(socket as i32) });
        Ok(())
    };
    refused_by(&[(Wall::Seccomp, DENIED)], make);
}

#[test]
fn connecting_to_the_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect(address).map(drop);
    refused_by(&[(Wall::Network, UNREACHABLE), (Wall::Landlock, NO_ACCESS), (Wall::Seccomp, DENIED)], connect);
}

#[test]
fn connecting_to_sockets_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let connect = || UnixStream::connect(&path).map(drop);
    refused_by(&[(Wall::Mounts, ABSENT), (Wall::Seccomp, DENIED)], connect);

    let name = format!("xvirt-worker-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let connect = || UnixStream::connect_addr(&address).map(drop);
    refused_by(&[(Wall::Network, UNREACHABLE), (Wall::Landlock, DENIED), (Wall::Seccomp, DENIED)], connect);
}

#[test]
fn reading_the_memory_of_another_process() {
    let secret = Box::new(*b"a secret");
    let victim = Victim::new(|| ());
    let read = || {
        let mut bytes = [0_u8; 8];
        let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // The same address as in this process, from which it was forked.
        let remote = libc::iovec { iov_base: secret.as_ptr().cast_mut().cast(), iov_len: secret.len() };
        // SAFETY: one valid buffer of this process; the kernel checks that of the other.
        checked(unsafe { libc::process_vm_readv(victim.process, &raw const local, 1, &raw const remote, 1, 0) } as i64)?;
        if bytes == *secret { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    };
    let mut walls = vec![(Wall::Processes, NO_PROCESS), (Wall::Landlock, DENIED), (Wall::Seccomp, DENIED)];
    if is_root() {
        // The other process has capabilities, and belongs to root.
        walls.extend([(Wall::Capabilities, DENIED), (Wall::Identity, DENIED)]);
    }
    refused_by(&walls, read);

    let path = CString::new(format!("/proc/{}/mem", victim.process)).unwrap();
    let open = || {
        // SAFETY: a NUL-terminated path.
        let file = checked(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) })?;
        // SAFETY: it was just opened.
        let file = unsafe { std::fs::File::from_raw_fd(file as i32) };
        let mut bytes = [0_u8; 8];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, secret.as_ptr().addr() as u64)?;
        if bytes == *secret { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    };
    refused_by(&[(Wall::Mounts, ABSENT), (Wall::Landlock, NO_ACCESS), (Wall::Seccomp, DENIED)], open);
}

#[test]
fn tracing_another_process() {
    let victim = Victim::new(|| ());
    let trace = || {
        // SAFETY: it reads no memory of this process.
        checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, victim.process, 0, 0) }).map(drop)
    };
    refused_by(&[(Wall::Processes, NO_PROCESS), (Wall::Landlock, DENIED), (Wall::Seccomp, DENIED)], trace);
}

#[test]
fn signalling_another_process() {
    let victim = Victim::new(|| ());
    // SAFETY: signal 0 only asks whether a signal could be sent.
    let signal = || checked(unsafe { libc::kill(victim.process, 0) }).map(drop);
    let mut walls = vec![(Wall::Processes, NO_PROCESS), (Wall::Landlock, DENIED), (Wall::Seccomp, DENIED)];
    if is_root() {
        walls.push((Wall::Identity, DENIED));
    }
    refused_by(&walls, signal);
}

#[test]
fn running_a_program() {
    let run = || {
        let arguments = [c"true".as_ptr(), std::ptr::null()];
        // SAFETY: NUL-terminated strings, and lists that end with a null pointer.
        checked(unsafe { libc::execve(c"/bin/true".as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr()) })
            .map(drop)
    };
    // Where it works, the program takes the place of the process, which says nothing any more.
    assert_eq!(attempt(&[], run), Outcome::Killed);
    for (wall, error) in [(Wall::Mounts, libc::ENOENT), (Wall::Landlock, libc::EACCES), (Wall::Seccomp, libc::EPERM)] {
        match attempt(&[wall], run) {
            Outcome::Lacking(reason) => println!("SKIPPED running_a_program: {reason}"),
            outcome => assert_eq!(outcome, Outcome::Refused(error), "with {wall} alone"),
        }
    }
    assert!(matches!(attempt(&[Wall::Mounts, Wall::Seccomp], run), Outcome::Refused(_)));
}

#[test]
fn starting_a_process() {
    let start = || {
        // SAFETY: the child shares nothing, and ends at once.
        let child = checked(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })?;
        if child == 0 {
            // SAFETY: it ends the child.
            unsafe { libc::_exit(0) };
        }
        Ok(())
    };
    refused_by(&[(Wall::Seccomp, DENIED)], start);
}

#[test]
fn mounting() {
    if !is_root() {
        return;
    }
    let mount = || {
        // SAFETY: it changes this process only, and NUL-terminated strings.
        unsafe {
            checked(libc::unshare(libc::CLONE_NEWNS))?;
            let nothing = std::ptr::null();
            let private = libc::MS_REC | libc::MS_PRIVATE;
            checked(libc::mount(nothing, c"/".as_ptr(), nothing, private, std::ptr::null()))?;
            checked(libc::mount(c"none".as_ptr(), c"/".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null())).map(drop)
        }
    };
    let walls =
        [(Wall::Identity, DENIED), (Wall::Capabilities, DENIED), (Wall::Landlock, DENIED), (Wall::Seccomp, DENIED)];
    refused_by(&walls, mount);
}

#[test]
fn what_is_open_stays_usable() {
    let (reader, writer) = io::pipe().unwrap();
    let walls: Vec<_> = Wall::ALL.into_iter().filter(|wall| crate::child::stands(*wall)).collect();
    let use_it = || {
        rustix::io::write(&writer, b"x")?;
        rustix::io::read(&reader, &mut [0_u8; 1])?;
        assert!(reader.as_raw_fd() > 2);
        let thread = std::thread::Builder::new().spawn(|| 7)?;
        if thread.join().is_ok_and(|seven| seven == 7) { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    };
    assert_eq!(attempt(&walls, use_it), Outcome::Worked);
}
