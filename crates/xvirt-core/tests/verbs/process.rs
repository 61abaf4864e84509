//! The resources of the process (threads, descriptors, memory), and a few system calls.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long the kernel may still list a thread that has ended.
pub const FAREWELL: Duration = Duration::from_secs(10);

/// The targets of the descriptors.
pub fn descriptors() -> Vec<String> {
    let target = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    let entries = fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap);
    entries.filter_map(target).map(|target| target.display().to_string()).collect()
}

/// A part of the address space.
#[derive(Debug)]
pub struct Mapping {
    pub bytes: u64,
    /// Its line in the kernel's list.
    pub line: String,
}

/// The mappings, except the heap.
pub fn mappings() -> Vec<Mapping> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let address = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let mapping = |line: &str| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        Mapping { bytes: address(end) - address(start), line: line.to_owned() }
    };
    maps.lines().filter(|line| !line.ends_with("[heap]")).map(mapping).collect()
}

/// Leaves no free descriptors for this process until it is dropped. Nothing else may change the limit meanwhile.
#[derive(Debug)]
pub struct NoDescriptors(Rlimit);

impl NoDescriptors {
    pub fn new() -> Self {
        let before = getrlimit(Resource::Nofile);
        // The kernel always assigns the lowest free number.
        let lowest = fs::File::open("/dev/null").unwrap().as_raw_fd();
        let limit = Rlimit { current: Some(u64::try_from(lowest).unwrap()), maximum: before.maximum };
        setrlimit(Resource::Nofile, limit).unwrap();
        Self(before)
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, self.0);
    }
}

/// Connects to a Unix socket and hangs up, without waiting.
pub fn connect_at_once(path: &Path) -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

/// Blocks all signals in the calling thread, like programs that receive signals through a descriptor.
pub fn block_signals() {
    // SAFETY: the set is filled before use; only this thread's mask is changed.
    let blocked = unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut())
    };
    assert_eq!(blocked, 0);
}
