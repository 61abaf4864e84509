//! Which threads of the process have seccomp filters while VMs run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use xvirt_core::config::{Disk, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, Access, BlockBackend, ImageFormat};
use xvirt_core::host::Host;

use crate::ALONE;
use crate::support::{Guest, config};

const DISK_SIZE: u64 = 8 << 20;

/// The number of device threads of each name, with and without a filter.
fn device_threads() -> BTreeMap<(String, bool), usize> {
    let mut found = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end while this reads its state.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap();
        if field("Name:").starts_with("virtio-") {
            *found.entry((field("Name:").to_owned(), field("Seccomp:") == "2")).or_default() += 1;
        }
    }
    found
}

/// A disk of the program that makes a system call which no filter allows whenever it is read.
#[derive(Debug)]
struct Own {
    disk: Arc<dyn BlockBackend>,
    opened: Mutex<Vec<io::Result<()>>>,
}

impl BlockBackend for Own {
    fn capacity(&self) -> u64 {
        self.disk.capacity()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.opened.lock().unwrap().push(fs::read("/proc/thread-self/status").map(drop));
        self.disk.read(buffers, offset)
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.disk.write(buffers, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.disk.discard(offset, length)
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.disk.write_zeroes(offset, length, unmap)
    }
}

/// Runs a VM until its guest has used its devices, and returns its threads.
fn running(config: VmConfig, host: &Host) -> BTreeMap<(String, bool), usize> {
    let mut guest = Guest::start(config, host).unwrap();
    guest.expect(demo::DONE);
    let threads = device_threads();
    guest.vm.hard_shutdown().unwrap();
    threads
}

#[test]
fn device_threads_run_under_filters_but_those_of_foreign_backends() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = crate::host!();
    let folder = tempfile::tempdir().unwrap();
    let (raw, qcow2, other) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
    disk::create(&raw, ImageFormat::Raw, DISK_SIZE).unwrap();
    disk::create(&qcow2, ImageFormat::Qcow2, DISK_SIZE).unwrap();
    disk::create(&other, ImageFormat::Raw, DISK_SIZE).unwrap();
    let disk = disk::open(&other, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    let own = Arc::new(Own { disk, opened: Mutex::default() });
    let config = || {
        config(&CommandLine::new([Mode::Rng, Mode::Blk]).seed(3))
            .disk(Disk::raw(&raw))
            .disk(Disk::qcow2(&qcow2))
            .disk(Disk::backend(own.clone()))
    };

    let threads = running(config(), &host);
    let count = |name: &str, filtered| threads.get(&(name.to_owned(), filtered)).copied().unwrap_or(0);
    assert_eq!((count("virtio-blk", true), count("virtio-blk", false)), (2, 1), "{threads:?}");
    assert_eq!((count("virtio-rng", true), count("virtio-console", true)), (1, 1), "{threads:?}");
    let opened = std::mem::take(&mut *own.opened.lock().unwrap());
    assert!(!opened.is_empty() && opened.iter().all(Result::is_ok), "{opened:?}");

    let threads = running(config().seccomp(false), &host);
    assert!(threads.keys().all(|(_, filtered)| !filtered) && threads.len() >= 3, "{threads:?}");
}
