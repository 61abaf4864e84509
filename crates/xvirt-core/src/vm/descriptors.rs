//! How many file descriptors a VM needs, and the error if there are too few.

use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::Error;
use crate::config::{Disk, DiskSource, IoEngine, Nic, NicBackendConfig, VmConfig};
use crate::error::Lack;
use crate::memory::ram_ranges;

/// `/dev/kvm` and the events of both consoles.
const HALTED: usize = 3;
/// The VM file of KVM, the guest's signals, the serial port, the watchdog, and two of the supervisor.
const RUNNING: usize = 6;
/// The event of a device's worker.
const DEVICE: usize = 1;
/// The event on which the engine of a disk waits, and io_uring.
const ENGINE: usize = 2;
const RING: usize = 1;

impl VmConfig {
    /// How many file descriptors a VM of this configuration has open while it runs. All of them are opened by
    /// [`build`](Self::build) and [`Vm::start`](crate::vm::Vm::start), or when a device is plugged in, which fail with
    /// [`OutOfDescriptors`](crate::ErrorKind::OutOfDescriptors) if there are too few. Neither a reboot nor the guest
    /// opens more, except for connections over its vsock device.
    ///
    /// | what | descriptors |
    /// |---|---|
    /// | the VM, also while it is halted | 3 |
    /// | the VM while it runs | 6 |
    /// | each vCPU | 1 |
    /// | memory that is shared or in huge pages | 1, or 2 from 3 GiB on |
    /// | the virtio console and the entropy source | 1 each |
    /// | the memory balloon | 2 |
    /// | each disk | 3, 1 for io_uring, and its files |
    /// | each network interface | 1, and its tap or socket, or 4 for a user network |
    /// | the vsock device | 3, and 1 for each connection |
    ///
    /// The files of a disk are its image and its backing files, each open twice if the disk is [direct](Disk::direct).
    /// Only the image itself is counted here, unless all files were given as descriptors, and nothing is counted for a
    /// program's own backend. Descriptors from the program are duplicated while they are used, and counted the same
    /// way.
    ///
    /// A VM whose memory is read while it runs ([`MemoryLoading::Lazy`](crate::vm::MemoryLoading::Lazy)) has 2 more, and
    /// until that is done one for each file of its saved state.
    ///
    /// In addition, the program has those it requests: one for each [`EventReceiver`](crate::vm::EventReceiver), and
    /// those that it attaches to consoles. A common soft limit is 1024; a program with many VMs raises it with
    /// `setrlimit(RLIMIT_NOFILE)`, which this library leaves to it.
    #[must_use]
    pub fn file_descriptors(&self) -> usize {
        HALTED + self.file_descriptors_to_start()
    }

    /// How many of them a start opens.
    pub(super) fn file_descriptors_to_start(&self) -> usize {
        let files = if self.memory_backing.needs_file() { ram_ranges(self.memory.bytes()).len() } else { 0 };
        let (console, rng) = (DEVICE, DEVICE);
        let balloon = if self.balloon.enabled { DEVICE + 1 } else { 0 };
        // Including its socket and the epoll that watches connections.
        let vsock = if self.vsock.is_some() { DEVICE + 2 } else { 0 };
        let disks: usize = self.disks.iter().map(of_disk).sum();
        let nics: usize = self.nics.iter().map(of_nic).sum();
        RUNNING + self.cpus.count as usize + files + console + rng + balloon + vsock + disks + nics
    }
}

/// How many a disk needs, without its backing files.
pub(super) fn of_disk(disk: &Disk) -> usize {
    let files = match &disk.source {
        DiskSource::Image { .. } if disk.direct => 2,
        DiskSource::Image { .. } => 1,
        DiskSource::Descriptors(images) => images.len(),
        DiskSource::Backend(_) => 0,
    };
    let ring = if disk.engine == IoEngine::Threads { 0 } else { RING };
    DEVICE + ENGINE + ring + files
}

/// How many a network interface needs.
pub(super) fn of_nic(nic: &Nic) -> usize {
    let connection = match nic.backend {
        NicBackendConfig::Connection(_) => 0,
        // The socket, the process, its output, and the event that ends it.
        NicBackendConfig::User(_) => 4,
        _ => 1,
    };
    DEVICE + connection
}

/// Turns a lack of descriptors into an error that says how many `what` needs, and how many are left, if there are too
/// few.
pub(super) fn explain(error: Error, what: &str, needed: usize) -> Error {
    let Some(lack) = Lack::of(&error) else { return error };
    let too_few = |(open, limit): &(usize, usize)| lack == Lack::Process && limit.saturating_sub(*open) < needed;
    let text = format!("{what} takes {needed} file descriptors");
    let Some((open, limit)) = open_and_limit().filter(too_few) else {
        return Error::new(error.kind(), text).because(error.without_remedy());
    };
    let left = limit.saturating_sub(open);
    let text = format!("{text}, and this process has {left} left of {limit}");
    let remedy = format!(
        "raise the limit of open files to {} or more: ulimit -n, LimitNOFILE= of the service, or \
         setrlimit(RLIMIT_NOFILE) in the program",
        open + needed
    );
    Error::new(error.kind(), text).with_remedy(remedy).because(error.without_remedy())
}

/// How many descriptors this process has open, and its limit.
fn open_and_limit() -> Option<(usize, usize)> {
    let limit = usize::try_from(getrlimit(Resource::Nofile).current?).unwrap_or(usize::MAX);
    let open = match fs::read_dir("/proc/self/fd") {
        // One of them is the open folder itself.
        Ok(open) => open.count().saturating_sub(1),
        Err(error) if Lack::of(&error) == Some(Lack::Process) => limit,
        Err(_) => return None,
    };
    Some((open, limit))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn explained(number: i32, needed: usize) -> String {
        let error = Error::io("cannot open it", io::Error::from_raw_os_error(number)).with_remedy("check the path");
        explain(error, "starting VM 'a'", needed).to_string()
    }

    #[test]
    fn the_limit_that_was_reached_is_the_one_to_raise() {
        let (_, limit) = open_and_limit().unwrap();
        let host = "close files in other programs, or raise the host's limit of open files: sysctl fs.file-max";
        for needed in [1, limit + 1] {
            assert_eq!(
                explained(libc::ENFILE, needed),
                format!(
                    "starting VM 'a' takes {needed} file descriptors: cannot open it: Too many open files in system (os \
                     error 23); {host}"
                )
            );
        }
        let text = explained(libc::EMFILE, limit + 1);
        assert!(text.contains(&format!(" left of {limit}: cannot open it: ")), "{text}");
        assert!(text.contains("; raise the limit of open files to "), "{text}");
        // Some may have been closed since the failure, or more are needed than is known beforehand.
        let text = explained(libc::EMFILE, 1);
        assert!(text.starts_with("starting VM 'a' takes 1 file descriptors: cannot open it: Too many open"), "{text}");
        assert!(text.contains("; raise the limit of open files: ulimit -n"), "{text}");
    }
}
