//! Guest memory that is not there yet: whoever touches a page of it waits until the page has been placed.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::fstatfs;
use rustix::io::retry_on_intr;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::GuestRam;
use super::host_ranges::HostRanges;
use super::huge_page;
use super::userfault::{Faults, Userfault};
use crate::thread::caught;

const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;

/// Memory whose pages are placed while it is in use, by positions that are counted over all its regions.
#[derive(Debug)]
pub(crate) struct MissingPages {
    userfault: Userfault,
    host: HostRanges,
    /// What one page has, in bytes.
    page: usize,
    /// Keeps the memory mapped.
    ram: GuestRam,
}

impl MissingPages {
    /// From now on, whoever touches a page of `ram` waits for it. All of it must be new.
    ///
    /// # Errors
    /// This host or this kind of memory cannot do that.
    pub(crate) fn new(ram: &GuestRam) -> io::Result<Self> {
        let page = if ram.iter().any(|region| region.is_hugetlbfs() == Some(true)) { HUGE_PAGE } else { PAGE };
        for file in ram.iter().filter_map(|region| region.file_offset()).filter(|_| page == HUGE_PAGE) {
            if fstatfs(file.file())?.f_bsize != HUGE_PAGE as i64 {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "its huge pages do not have 2 MiB"));
            }
        }
        let (userfault, host) = (Userfault::open(Faults::Missing)?, HostRanges::of(ram));
        // Before Linux 6.4, khugepaged fills missing pages of shared memory with zeroes when it makes huge ones.
        ram.iter().filter(|region| region.file_offset().is_some()).for_each(|r| huge_page::refuse(&r.get_mmap()));
        for range in host.regions() {
            // SAFETY: the range is the mapping of a region, which `ram` keeps.
            unsafe { userfault.register(range, Faults::Missing) }?;
        }
        Ok(Self { userfault, host, page, ram: ram.clone() })
    }

    /// What one page has, in bytes.
    pub(crate) fn page(&self) -> usize {
        self.page
    }

    /// Calls `missing` with the position of each page that somebody waits for, until `end` is readable.
    pub(crate) fn serve(&self, end: BorrowedFd<'_>, mut missing: impl FnMut(u64)) -> io::Result<()> {
        loop {
            let mut ready = [PollFd::new(&self.userfault, PollFlags::IN), PollFd::from_borrowed_fd(end, PollFlags::IN)];
            retry_on_intr(|| poll(&mut ready, None))?;
            if ready[1].revents().contains(PollFlags::IN) {
                return Ok(());
            }
            let faults = self.userfault.faults()?;
            faults.into_iter().filter_map(|address| self.host.position(address)).for_each(&mut missing);
        }
    }

    /// Fills the pages from `position` on with `bytes`, whole pages, and wakes those who wait for them.
    ///
    /// # Errors
    /// `AlreadyExists` if a page is there already, which something else than this has filled.
    pub(crate) fn place(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        for range in self.host.host(&(position..position + bytes.len() as u64)) {
            let part = &bytes[done..done + range.len()];
            self.fill(&range, |at| self.userfault.copy(&part[at - range.start..], at))?;
            done += range.len();
        }
        Ok(())
    }

    /// Fills the page at `position` with zeroes, unless it is there already, and wakes those who wait for it.
    pub(crate) fn place_zeroes(&self, position: u64) -> io::Result<()> {
        let start = position / self.page as u64 * self.page as u64;
        let placed = if self.page == HUGE_PAGE {
            self.place(start, &vec![0; HUGE_PAGE])
        } else {
            let mut ranges = self.host.host(&(start..start + PAGE as u64));
            ranges.try_for_each(|range| self.fill(&range, |at| self.userfault.zero(&(at..range.end))))
        };
        match placed {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let mut ranges = self.host.host(&(start..start + self.page as u64));
                ranges.try_for_each(|range| self.userfault.wake(&range))
            }
            placed => placed,
        }
    }

    /// Fills a range with `call`, which gets an address and returns how many bytes it has filled from there on.
    fn fill(&self, range: &Range<usize>, call: impl Fn(usize) -> io::Result<usize>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            match call(at) {
                Ok(filled) => at += filled,
                // The address space is changing at this moment.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Nobody waits any more: pages that are not there are zeroes from now on.
    pub(crate) fn release(&self) {
        for range in self.host.regions() {
            if let Err(error) = self.userfault.unregister(range) {
                // Must not panic, whatever the log subscriber does: others have to be released.
                let _ = caught(|| tracing::error!("guest memory stays missing, so the guest may hang: {error}"));
            }
        }
        for region in self.ram.iter().filter(|region| region.file_offset().is_some()) {
            huge_page::advise(&region.get_mmap(), region.start_addr().0);
        }
    }

    /// The positions of addresses of this process.
    pub(crate) fn positions(&self, addresses: &Range<usize>) -> Range<u64> {
        self.host.position(addresses.start).map_or(0..0, |start| start..start + addresses.len() as u64)
    }
}
