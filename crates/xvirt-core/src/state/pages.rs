//! Writes pages of memory into a file in any order, and as often as they change.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::retry_on_intr;

use super::dirty::DirtyPages;
use super::memory::{
    CHUNK_PAGES, MemoryMap, MemoryRange, OFFSET, PAGE, is_zero, joined, read_guest, runs, too_large, total,
};
use crate::memory::GuestRam;
use crate::{Error, Result};

/// A smaller hole is not worth its place in the file system's tables.
const SMALL_HOLE: usize = 64 << 10;
/// The mark of a page that is in the file, beside its checksum.
const PRESENT: u64 = 1 << 32;

/// The pages of a guest in a new file. A page must not be written by two threads at once.
#[derive(Debug)]
pub(super) struct PageFile {
    ranges: Vec<MemoryRange>,
    file: File,
    /// For each page its CRC-32C and [`PRESENT`]; 0 if it is not in the file.
    pages: Vec<AtomicU64>,
    /// Ranges of pages for which the file has room already.
    reserved: OnceLock<Vec<Range<u64>>>,
}

impl PageFile {
    /// For memory with these ranges in `file`, which must be empty.
    pub(super) fn new(ranges: Vec<MemoryRange>, file: File) -> Result<Self> {
        let count = usize::try_from(total(&ranges) / PAGE as u64).map_err(|_| too_large())?;
        let mut pages = Vec::new();
        pages.resize_with(count, AtomicU64::default);
        Ok(Self { ranges, file, pages, reserved: OnceLock::new() })
    }

    /// How many pages the memory has.
    pub(super) fn count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Makes room in the file for these pages, by chunks, and for what comes behind memory, so that the file system does
    /// not become full after the guest was stopped.
    ///
    /// # Errors
    /// `NoSpace`.
    pub(super) fn reserve(&self, pages: &DirtyPages) -> Result<()> {
        let count = self.count();
        let chunks = (0..count.div_ceil(CHUNK_PAGES as u64)).map(|number| pages_of(number, count));
        let reserved = joined(chunks.filter(|chunk| pages.runs(chunk.clone(), 1).next().is_some()));
        let place = |page: u64| OFFSET + page * PAGE as u64;
        // The memory map, what is inherited, and the state of the devices.
        let behind = (place(count), count / 4 + (1 << 20));
        let ranges = reserved.iter().map(|run| (place(run.start), (run.end - run.start) * PAGE as u64));
        for (offset, length) in ranges.chain([behind]) {
            match retry_on_intr(|| fallocate(&self.file, FallocateFlags::KEEP_SIZE, offset, length)) {
                Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
                made => made.map_err(|e| Error::io("cannot make room for the guest's memory", e.into()))?,
            }
        }
        let _ = self.reserved.set(reserved);
        Ok(())
    }

    /// Gives up the room for pages that are not in the file, except for small holes, and where the file system cannot. They are
    /// zeroes either way.
    pub(super) fn release(&self) -> Result<()> {
        for run in self.reserved.get().into_iter().flatten() {
            let entries = self.pages.get(run.start as usize..run.end as usize).unwrap_or_default();
            for hole in runs(entries.iter().map(|entry| entry.load(Ordering::Relaxed) == 0)) {
                if hole.len() >= SMALL_HOLE {
                    let offset = OFFSET + run.start * PAGE as u64 + hole.start as u64;
                    let punched = punch(&self.file, offset, hole.len() as u64);
                    punched.map_err(|e| Error::io("cannot give up room that the checkpoint does not need", e))?;
                }
            }
        }
        Ok(())
    }

    /// Copies guest memory from page `first` on into `bytes`.
    pub(super) fn read(&self, ram: &GuestRam, first: u64, bytes: &mut [u8]) -> Result<()> {
        read_guest(ram, &self.ranges, first * PAGE as u64, bytes)
    }

    /// Writes the pages from `first` on. Those of zeroes become holes where the file system can make some, and otherwise
    /// zeroes. Returns how many bytes of other pages were written.
    pub(super) fn write(&self, first: u64, bytes: &[u8]) -> Result<u64> {
        let cannot = |e| Error::io("cannot write the guest's memory", e);
        let place = |at: usize| OFFSET + first * PAGE as u64 + at as u64;
        let there: Vec<_> = bytes.chunks(PAGE).map(|page| !is_zero(page)).collect();
        let entries = usize::try_from(first).ok().and_then(|first| self.pages.get(first..)).unwrap_or_default();
        let was = |page: usize| entries.get(page).is_some_and(|entry| entry.load(Ordering::Relaxed) != 0);
        for gone in runs((0..there.len()).map(|page| !there[page] && was(page))) {
            if !punch(&self.file, place(gone.start), gone.len() as u64).map_err(cannot)? {
                // Who maps the file finds whatever is there.
                self.file.write_all_at(&bytes[gone.clone()], place(gone.start)).map_err(cannot)?;
            }
        }
        let mut written = 0;
        for run in runs(there.iter().copied()) {
            self.file.write_all_at(&bytes[run.clone()], place(run.start)).map_err(cannot)?;
            written += run.len() as u64;
        }
        for ((entry, page), there) in entries.iter().zip(bytes.chunks(PAGE)).zip(there) {
            let value = if there { PRESENT | u64::from(crc32c::crc32c(page)) } else { 0 };
            entry.store(value, Ordering::Relaxed);
        }
        Ok(written)
    }

    /// What is in the file.
    pub(super) fn map(&self) -> MemoryMap {
        let (ranges, pages) = (self.ranges.clone(), &self.pages);
        let (mut present, after) = (vec![0_u8; pages.len().div_ceil(8)], AfterPage::new());
        let mut checksums = Vec::with_capacity(pages.len().div_ceil(CHUNK_PAGES));
        for (number, chunk) in pages.chunks(CHUNK_PAGES).enumerate() {
            let mut checksum = 0;
            for (page, entry) in chunk.iter().enumerate() {
                let entry = entry.load(Ordering::Relaxed);
                if entry != 0 {
                    let page = number * CHUNK_PAGES + page;
                    present[page / 8] |= 1 << (page % 8);
                    checksum = after.append(checksum, entry as u32);
                }
            }
            checksums.push(checksum);
        }
        MemoryMap { ranges, present, checksums }
    }
}

/// Makes a range of a file a hole. Returns `false` if the file system cannot.
fn punch(file: &File, offset: u64, length: u64) -> io::Result<bool> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match retry_on_intr(|| fallocate(file, flags, offset, length)) {
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(false),
        punched => Ok(punched.map(|()| true)?),
    }
}

/// Computes the CRC-32C of bytes and a page behind them from those of both. What a page of zeroes does to a checksum is
/// linear in its bits, so it is looked up byte by byte.
struct AfterPage([[u32; 256]; 4]);

impl AfterPage {
    fn new() -> Self {
        let mut tables = [[0; 256]; 4];
        for (byte, table) in tables.iter_mut().enumerate() {
            let bits: [u32; 8] = std::array::from_fn(|bit| crc32c::crc32c_combine(1 << (8 * byte + bit), 0, PAGE));
            for (value, entry) in table.iter_mut().enumerate() {
                *entry = (0..8).filter(|bit| value >> bit & 1 == 1).fold(0, |sum, bit| sum ^ bits[bit]);
            }
        }
        Self(tables)
    }

    /// The checksum of bytes with checksum `before` and a page with checksum `page`.
    fn append(&self, before: u32, page: u32) -> u32 {
        let bytes = before.to_le_bytes();
        bytes.iter().zip(&self.0).fold(page, |sum, (byte, table)| sum ^ table[usize::from(*byte)])
    }
}

/// The pages of chunk `number` of a memory of `count` pages.
pub(super) fn pages_of(number: u64, count: u64) -> Range<u64> {
    let first = number * CHUNK_PAGES as u64;
    first..(first + CHUNK_PAGES as u64).min(count)
}

#[cfg(test)]
mod tests {
    use std::ffi::{CString, OsStr};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::ptr::null;

    use super::*;

    #[test]
    fn checksums_of_pages_are_combined() {
        let bytes: Vec<u8> = (0..4 * PAGE).map(|at| (at * 7 + at / 251) as u8).collect();
        let after = AfterPage::new();
        let combined = bytes.chunks(PAGE).fold(0, |sum, page| after.append(sum, crc32c::crc32c(page)));
        assert_eq!(combined, crc32c::crc32c(&bytes));
    }

    /// Calls `test` with a folder in which no file can have holes made; says so if there can be none.
    fn without_holes(name: &'static str, test: impl FnOnce(&Path) + Send + 'static) {
        let folder = tempfile::tempdir().unwrap();
        let target = CString::new(folder.path().as_os_str().as_bytes()).unwrap();
        let on_thread = move || {
            // SAFETY: affects only this thread, which ends with the test.
            if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
                return println!("SKIPPED {name}: needs root");
            }
            // SAFETY: all arguments are NUL-terminated strings, or null where mount(2) allows it.
            let mounted = unsafe {
                libc::mount(c"none".as_ptr(), c"/".as_ptr(), null(), libc::MS_REC | libc::MS_PRIVATE, null()) == 0
                    && libc::mount(c"ramfs".as_ptr(), target.as_ptr(), c"ramfs".as_ptr(), 0, null()) == 0
            };
            assert!(mounted, "{}", io::Error::last_os_error());
            test(Path::new(OsStr::from_bytes(target.as_bytes())));
        };
        std::thread::scope(|scope| scope.spawn(on_thread).join()).unwrap();
    }

    #[test]
    fn pages_that_become_zeroes_are_so_in_the_file_where_it_can_have_no_holes() {
        without_holes("pages_that_become_zeroes_are_so_in_the_file_where_it_can_have_no_holes", |folder| {
            let options = File::options().read(true).write(true).create_new(true).clone();
            let file = options.open(folder.join("memory")).unwrap();
            let ranges = vec![MemoryRange { address: 0, length: 8 * PAGE as u64 }];
            let pages = PageFile::new(ranges, file.try_clone().unwrap()).unwrap();
            pages.write(0, &[1; 8 * PAGE]).unwrap();
            pages.write(2, &[0; 3 * PAGE]).unwrap();
            let mut bytes = [0; 8 * PAGE];
            file.read_exact_at(&mut bytes, OFFSET).unwrap();
            let there: Vec<_> = bytes.chunks(PAGE).map(|page| !is_zero(page)).collect();
            assert_eq!(there, [true, true, false, false, false, true, true, true]);
            assert_eq!(pages.map().present, [0b1110_0011]);
        });
    }
}
