//! Keeps guest memory as it is at one moment while the guest runs on: pages are protected against writes, and whoever
//! writes one waits until it has been read.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::GuestRam;
use super::host_ranges::HostRanges;
use super::userfault::{Faults, Userfault};

const PAGE: usize = 4096;
/// The bits of an entry in `/proc/self/pagemap` that say that a page is in memory, or swapped out.
const POPULATED: u64 = 3 << 62;

/// Protects the pages of a guest against writes. Dropping it ends that for all of them.
#[derive(Debug)]
pub(crate) struct WriteProtection {
    userfault: Userfault,
    host: HostRanges,
    pagemap: File,
    /// Keeps the memory mapped.
    _ram: GuestRam,
}

/// How long threads have waited for pages to be read before they could write them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stalls {
    pub(crate) longest: Duration,
    pub(crate) total: Duration,
}

impl WriteProtection {
    /// Prepares to protect the pages of `ram`, which costs the guest nothing yet.
    ///
    /// # Errors
    /// This host or this kind of memory cannot be protected.
    pub(crate) fn new(ram: &GuestRam) -> io::Result<Self> {
        // A page of a file that is not mapped here is not protected, and other processes may write it.
        if ram.iter().any(|region| region.file_offset().is_some()) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the guest's memory lies in a file"));
        }
        let pagemap = File::open("/proc/self/pagemap")?;
        let (userfault, host) = (Userfault::open(Faults::Protected)?, HostRanges::of(ram));
        for range in host.regions() {
            // SAFETY: the range is the mapping of a region, which `_ram` keeps.
            unsafe { userfault.register(range, Faults::Protected) }?;
        }
        Ok(Self { userfault, host, pagemap, _ram: ram.clone() })
    }

    /// For each region of memory a bitmap of the pages that the host has allocated, with the lowest bit of the first
    /// word for its first page. All others are zeroes.
    pub(crate) fn populated(&self) -> io::Result<Vec<Vec<u64>>> {
        self.host.regions().map(|range| self.populated_in(range)).collect()
    }

    fn populated_in(&self, host: &Range<usize>) -> io::Result<Vec<u64>> {
        let pages = host.len() / PAGE;
        let (mut bitmap, mut buffer) = (vec![0_u64; pages.div_ceil(64)], vec![0_u8; 8 * 64 * 128]);
        let mut page = 0;
        while page < pages {
            let bytes = ((pages - page) * 8).min(buffer.len());
            self.pagemap.read_exact_at(&mut buffer[..bytes], ((host.start / PAGE + page) * 8) as u64)?;
            for (word, entries) in bitmap[page / 64..].iter_mut().zip(buffer[..bytes].chunks(8 * 64)) {
                for (bit, entry) in entries.chunks_exact(8).enumerate() {
                    let entry = u64::from_ne_bytes(entry.try_into().unwrap_or_default());
                    *word |= u64::from(entry & POPULATED != 0) << bit;
                }
            }
            page += bytes / 8;
        }
        Ok(bitmap)
    }

    /// Protects the pages at these positions that the host has allocated.
    pub(crate) fn protect(&self, positions: &Range<u64>) -> io::Result<()> {
        self.host.host(positions).try_for_each(|range| self.userfault.protect(&range))
    }

    /// Lets pages be written, and wakes those who wait for that.
    pub(crate) fn unprotect(&self, positions: &Range<u64>) -> io::Result<()> {
        self.host.host(positions).try_for_each(|range| self.userfault.unprotect(&range))
    }

    /// Whether a thread waits to write a page.
    #[cfg(feature = "demo")]
    #[cfg(test)]
    pub(crate) fn has_waiting(&self) -> bool {
        use std::os::fd::{AsFd, AsRawFd};
        // Written by userfaultfd_show_fdinfo of Linux fs/userfaultfd.c.
        let fd = self.userfault.as_fd().as_raw_fd();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let total = info.lines().find_map(|line| line.strip_prefix("total:")).unwrap();
        total.trim().parse::<u64>().unwrap() > 0
    }

    /// Calls `keep` with the position of each page that somebody waits to write, until `end` is readable. `keep`
    /// returns when the page is no longer protected.
    pub(crate) fn serve(&self, end: BorrowedFd<'_>, mut keep: impl FnMut(u64)) -> io::Result<Stalls> {
        let (mut stalls, mut last) = (Stalls::default(), Instant::now());
        loop {
            let began = Instant::now();
            let mut ready = [PollFd::new(&self.userfault, PollFlags::IN), PollFd::from_borrowed_fd(end, PollFlags::IN)];
            retry_on_intr(|| poll(&mut ready, None))?;
            if ready[1].revents().contains(PollFlags::IN) {
                return Ok(stalls);
            }
            // Who was there at once may have come any time after the last look.
            let waited = began.elapsed() > Duration::from_micros(50);
            let since = if waited { Instant::now() } else { last };
            last = Instant::now();
            for address in self.userfault.faults()? {
                self.position(address).into_iter().for_each(&mut keep);
                // One whose page was unprotected before it was seen here.
                self.userfault.wake(&(address & !(PAGE - 1)..(address & !(PAGE - 1)) + PAGE))?;
                let stall = since.elapsed();
                (stalls.longest, stalls.total) = (stalls.longest.max(stall), stalls.total + stall);
            }
        }
    }

    /// The position of an address of this process.
    pub(crate) fn position(&self, address: usize) -> Option<u64> {
        self.host.position(address)
    }
}

impl Drop for WriteProtection {
    fn drop(&mut self) {
        // Kernels before 5.19 do not do this when the descriptor is closed.
        for range in self.host.regions() {
            if let Err(error) = self.userfault.unprotect(range) {
                tracing::error!("guest memory stays protected, so the guest may hang: {error}");
            }
            // A child process that was forked meanwhile may keep the descriptor open.
            if let Err(error) = self.userfault.unregister(range) {
                tracing::warn!("guest memory may not be protected again until the VM is halted: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::memory::{MemoryBacking, allocate};
    use crate::size::ByteSize;

    #[test]
    fn memory_is_protected_again_while_another_process_has_the_descriptor() {
        let ram = allocate(ByteSize::mib(4), &MemoryBacking::default()).unwrap();
        let protection = WriteProtection::new(&ram).unwrap();
        let _kept = protection.userfault.as_fd().try_clone_to_owned().unwrap();
        drop(protection);
        WriteProtection::new(&ram).unwrap();
    }
}
