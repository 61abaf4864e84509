//! Loads memory that is mapped from a file before the guest needs it.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use tracing::Span;
use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::GuestRam;
use crate::thread;
use crate::{Error, Result};

/// How much is loaded at once, in bytes: a stop takes no longer than this.
const STEP: u64 = 2 << 20;
const STACK: usize = 128 << 10;

/// A thread that loads memory, until this is dropped.
#[derive(Debug)]
pub(crate) struct Prefault {
    stop: Arc<AtomicBool>,
    complete: Arc<OnceLock<Instant>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefault {
    /// Starts to load `ranges` of guest memory, each of which is in one region.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(memory: GuestRam, ranges: Vec<Range<u64>>) -> Result<Self> {
        let (stop, complete) = (Arc::new(AtomicBool::new(false)), Arc::new(OnceLock::new()));
        let (stopped, done) = (Arc::clone(&stop), Arc::clone(&complete));
        let work = move || match populate(&memory, &ranges, &stopped) {
            // Set once.
            Ok(true) => drop(done.set(Instant::now())),
            Ok(false) => {}
            // The guest still gets every page when it needs it.
            Err(error) => tracing::warn!("the guest's memory is not loaded ahead: {error}"),
        };
        let panicked = |panic: thread::Panicked| tracing::error!("the guest's memory is not loaded: {}", panic.message);
        let thread = thread::spawn("prefault", STACK, Span::current(), work, panicked)
            .map_err(|error| Error::io("cannot start the thread that loads the guest's memory", error))?;
        Ok(Self { stop, complete, thread: Some(thread) })
    }

    /// When all of it was loaded, if it is.
    pub(crate) fn complete(&self) -> Option<Instant> {
        self.complete.get().copied()
    }
}

impl Drop for Prefault {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It handles its panics.
            let _ = thread.join();
        }
    }
}

/// Maps all pages; `false` if it was told to stop.
fn populate(memory: &GuestRam, ranges: &[Range<u64>], stop: &AtomicBool) -> io::Result<bool> {
    for range in ranges {
        for start in range.clone().step_by(STEP as usize) {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let length = STEP.min(range.end - start) as usize;
            let address = memory.get_host_address(GuestAddress(start)).map_err(io::Error::other)?;
            // SAFETY: the range is in a mapping that `memory` keeps, and reading pages in does not change them.
            if unsafe { libc::madvise(address.cast(), length, libc::MADV_POPULATE_READ) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::memory::give_back::tests::resident;
    use crate::memory::{MemoryBacking, map_privately};

    #[test]
    fn exactly_the_ranges_are_loaded() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![7; 8 << 20], 0).unwrap();
        let memory = map_privately(&[(0, 8 << 20)], &Arc::new(file), 0, &MemoryBacking::default()).unwrap();
        let prefault = Prefault::start(memory.clone(), vec![0x1000..0x3000, 0x10_0000..0x50_0000]).unwrap();
        while prefault.complete().is_none() {
            std::thread::yield_now();
        }
        let mapped = |address: u64| page_is_mapped(&memory, address);
        assert_eq!([0, 0x1000, 0x2000, 0x10_0000, 0x4f_f000].map(mapped)[1..], [true; 4]);
        // The pages that are mapped are in the page cache as well.
        assert!(resident(&memory, 0x10_0000, 1)[0]);
    }

    /// Whether this process has the page in its page table (`/proc/self/pagemap`).
    fn page_is_mapped(memory: &GuestRam, address: u64) -> bool {
        let at = memory.get_host_address(GuestAddress(address)).unwrap() as u64;
        let mut entry = [0; 8];
        std::fs::File::open("/proc/self/pagemap").unwrap().read_exact_at(&mut entry, at / 4096 * 8).unwrap();
        u64::from_le_bytes(entry) >> 63 == 1
    }

    #[test]
    fn dropping_it_ends_the_thread() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 30).unwrap();
        let memory = map_privately(&[(0, 1 << 30)], &Arc::new(file), 0, &MemoryBacking::default()).unwrap();
        let ranges = vec![0..1 << 29, 1 << 29..1 << 30];
        let prefault = Prefault::start(memory, ranges).unwrap();
        let complete = Arc::downgrade(&prefault.complete);
        drop(prefault);
        assert!(complete.upgrade().is_none(), "the thread still holds it");
    }
}
