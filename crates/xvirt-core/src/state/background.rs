//! Saves the memory of a guest as it is at one moment, while the guest runs on.
//!
//! At that moment all pages are protected against writes. Threads then read one chunk after the other, let it be written
//! again, and write what they have read to the file. Whoever writes a page earlier waits until another thread has read
//! its chunk, which is written to the file later.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::dirty::DirtyPages;
use super::memory::{CHUNK, CHUNK_PAGES, MemoryMap, PAGE};
use super::pages::{PageFile, pages_of};
use crate::memory::{GuestRam, Keeper, Stalls, WriteProtection};
use crate::progress::{Progress, step};
use crate::sync::{lock, wait};
use crate::thread::{Panicked, spawn};
use crate::{Error, ErrorKind, Result};

/// More threads than this wait for storage, not for each other.
const MAX_THREADS: usize = 4;
/// How many chunks wait to be written to the file at most. Beyond that, whoever writes a page waits for storage.
const MAX_COPIES: usize = 32;
const STACK: usize = 256 << 10;
/// How often the caller's observer is asked.
const INTERVAL: Duration = Duration::from_millis(20);
const NAME: &str = "saving the guest's memory";

/// What is known of a chunk.
const FREE: u8 = 0;
const PROTECTED: u8 = 1;
const BEING_READ: u8 = 2;

/// Memory that is being saved in the background. Dropping it ends that, and no page stays protected.
#[derive(Debug)]
pub(crate) struct BackgroundSave {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
    server: Option<JoinHandle<()>>,
    end: Arc<OwnedFd>,
}

/// Memory that was saved.
#[derive(Debug)]
pub(crate) struct InBackground {
    pub(crate) map: MemoryMap,
    pub(crate) stalls: Stalls,
    /// How many bytes were written.
    pub(crate) written: u64,
}

#[derive(Debug)]
struct Shared {
    ram: GuestRam,
    pages: PageFile,
    protection: WriteProtection,
    chunks: Vec<AtomicU8>,
    /// The pages to save.
    wanted: OnceLock<DirtyPages>,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    /// The next chunk that was not looked at; `None` before chunks are read that nobody waits for.
    next: Option<u64>,
    /// How many chunks are not written yet.
    left: usize,
    /// Chunks that were read and are to be written.
    copies: VecDeque<(u64, Vec<u8>)>,
    /// How many chunks are being read for that.
    reading: usize,
    spare: Vec<Vec<u8>>,
    failed: Option<Error>,
    /// Nothing is to be saved any more.
    ended: bool,
    written: u64,
    stalls: Stalls,
}

impl Work {
    fn is_over(&self) -> bool {
        self.ended || self.failed.is_some()
    }
}

impl BackgroundSave {
    /// Prepares to save the memory of `ram` to `file`, which must be empty.
    ///
    /// # Errors
    /// Memory of this kind, or on this host, cannot be protected; or no thread can be started.
    pub(crate) fn new(ram: GuestRam, file: File) -> Result<Self> {
        let cannot = |e| Error::io("guest memory cannot be protected against writes", e);
        let protection = WriteProtection::new(&ram).map_err(cannot)?;
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| cannot(e.into()))?);
        let pages = PageFile::new(super::ranges_of(&ram), file)?;
        let mut chunks = Vec::new();
        chunks.resize_with(pages.count().div_ceil(CHUNK_PAGES as u64) as usize, AtomicU8::default);
        let (wanted, work, changed) = Default::default();
        let shared = Arc::new(Shared { ram, pages, protection, chunks, wanted, work, changed });
        let mut save = Self { shared, writers: Vec::new(), server: None, end };
        let start = |name: &str, work: Box<dyn FnOnce(&Shared) + Send>| {
            let (shared, panicked) = (Arc::clone(&save.shared), Arc::clone(&save.shared));
            let ended = move |panic: Panicked| panicked.fail(Error::new(ErrorKind::Io, panic.message));
            let started = spawn(name, STACK, tracing::Span::current(), move || work(&shared), ended);
            started.map_err(|e| Error::io(format!("cannot start a thread for {NAME}"), e))
        };
        let end = Arc::clone(&save.end);
        let server = start("xvirt-keep", Box::new(move |shared| shared.serve(&end)))?;
        let writers = (0..available_parallelism().map_or(1, usize::from).min(MAX_THREADS))
            .map(|_| start("xvirt-save", Box::new(Shared::write)))
            .collect::<Vec<_>>();
        save.server = Some(server);
        for writer in writers {
            save.writers.push(writer?);
        }
        Ok(save)
    }

    /// Makes room in the file for the memory that the guest has used until now, or of that for these pages.
    ///
    /// # Errors
    /// `NoSpace`.
    pub(crate) fn reserve(&self, changed: Option<&DirtyPages>) -> Result<()> {
        self.shared.pages.reserve(&self.shared.populated(changed)?)
    }

    /// Saves memory as it is now. The guest must not run until this returns. With `changed`, only these pages are saved.
    ///
    /// # Errors
    /// The pages cannot be protected.
    pub(crate) fn begin(&self, changed: Option<&DirtyPages>) -> Result<()> {
        let cannot = |e| Error::io("cannot protect guest memory against writes", e);
        let shared = &self.shared;
        let count = shared.pages.count();
        let wanted = shared.populated(changed)?;
        let has_any = |number: u64| wanted.runs(pages_of(number, count), 1).next().is_some();
        let chunks: Vec<_> = (0..shared.chunks.len() as u64).filter(|number| has_any(*number)).collect();
        for number in &chunks {
            shared.chunks[*number as usize].store(PROTECTED, Ordering::Release);
        }
        let _ = shared.wanted.set(wanted);
        // First, because whoever writes a page from now on has a chunk written.
        lock(&shared.work).left = chunks.len();
        shared.set_keeper(Some(Arc::clone(shared) as _));
        for run in chunks.chunk_by(|one, next| one + 1 == *next) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                let pages = pages_of(*first, count).start..pages_of(*last, count).end;
                shared.protection.protect(&positions(&pages)).map_err(cannot)?;
            }
        }
        Ok(())
    }

    /// Waits until memory is saved.
    ///
    /// # Errors
    /// `NoSpace` or another failure of the file, or `Cancelled`.
    pub(crate) fn finish(&mut self, progress: &dyn Progress) -> Result<InBackground> {
        // Not before, so that the guest runs again as soon as possible.
        lock(&self.shared.work).next = Some(0);
        self.shared.changed.notify_all();
        let is_done = |work: &Work| work.left == 0 || work.failed.is_some();
        let total = lock(&self.shared.work).left as u64;
        loop {
            // The observer must not keep the threads from working.
            let left = lock(&self.shared.work).left as u64;
            step(progress, (total - left) * CHUNK as u64, Some(total * CHUNK as u64), NAME)?;
            let work = lock(&self.shared.work);
            if is_done(&work) {
                break;
            }
            drop(self.shared.changed.wait_timeout(work, INTERVAL).unwrap_or_else(PoisonError::into_inner));
        }
        let mut work = lock(&self.shared.work);
        let (failed, written) = (work.failed.take(), work.written);
        drop(work);
        self.end();
        failed.map_or(Ok(()), Err)?;
        self.shared.pages.release()?;
        let stalls = lock(&self.shared.work).stalls;
        Ok(InBackground { map: self.shared.pages.map(), stalls, written })
    }

    /// Lets everybody write, and ends the threads, if that has not been done.
    pub(crate) fn end(&mut self) {
        if self.server.is_none() {
            return;
        }
        lock(&self.shared.work).ended = true;
        self.shared.changed.notify_all();
        self.shared.set_keeper(None);
        for writer in self.writers.drain(..) {
            let _ = writer.join();
        }
        let count = self.shared.pages.count();
        if let Err(error) = self.shared.protection.unprotect(&positions(&(0..count))) {
            tracing::error!("guest memory stays protected: {error}");
        }
        // Cannot fail: nobody else has written to it.
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

impl Drop for BackgroundSave {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    /// The pages that the host has allocated, or those of them that have `changed`.
    fn populated(&self, changed: Option<&DirtyPages>) -> Result<DirtyPages> {
        let cannot = |e| Error::io("cannot find out which memory the guest has used", e);
        let mut populated = DirtyPages::of_regions(&self.ram, &self.protection.populated().map_err(cannot)?);
        changed.into_iter().for_each(|changed| populated.retain(changed));
        Ok(populated)
    }

    fn set_keeper(&self, keeper: Option<Arc<dyn Keeper>>) {
        use vm_memory::GuestMemoryBackend;
        self.ram.iter().for_each(|region| region.get_mmap().bitmap().set_keeper(keeper.clone()));
    }

    fn fail(&self, error: Error) {
        let mut work = lock(&self.work);
        work.failed.get_or_insert(error);
        drop(work);
        self.changed.notify_all();
        // Nobody waits for what is not saved any more.
        if let Err(error) = self.protection.unprotect(&positions(&(0..self.pages.count()))) {
            tracing::error!("guest memory stays protected: {error}");
        }
    }

    /// Reads the chunks of pages that somebody waits to write.
    fn serve(&self, end: &OwnedFd) {
        match self.protection.serve(end.as_fd(), |position| self.keep_chunk(position / CHUNK as u64)) {
            Ok(stalls) => lock(&self.work).stalls = stalls,
            Err(error) => self.fail(Error::io("cannot handle writes to protected memory", error)),
        }
    }

    /// Makes sure that the chunk has been read and may be written.
    fn keep_chunk(&self, number: u64) {
        let Some(chunk) = self.chunks.get(number as usize) else { return };
        if chunk.load(Ordering::Acquire) == FREE {
            return;
        }
        let mut work = lock(&self.work);
        loop {
            match chunk.load(Ordering::Acquire) {
                FREE => return,
                _ if work.is_over() => break,
                PROTECTED if work.copies.len() + work.reading < MAX_COPIES => break,
                _ => work = wait(&self.changed, work),
            }
        }
        if work.is_over() || !self.claim(number) {
            drop(work);
            self.unprotect(number);
            return;
        }
        work.reading += 1;
        let buffer = work.spare.pop();
        drop(work);
        let mut buffer = buffer.unwrap_or_else(|| vec![0; CHUNK]);
        let read = self.read(number, &mut buffer);
        let mut work = lock(&self.work);
        work.reading -= 1;
        match read {
            Ok(()) => work.copies.push_back((number, buffer)),
            Err(error) => drop(work.failed.get_or_insert(error)),
        }
        drop(work);
        self.changed.notify_all();
    }

    /// Whether the caller is the one who reads a chunk.
    fn claim(&self, number: u64) -> bool {
        let chunk = &self.chunks[number as usize];
        chunk.compare_exchange(PROTECTED, BEING_READ, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Reads a claimed chunk, and lets it be written. Who waits for that goes on, before anything is written to the file.
    fn read(&self, number: u64, buffer: &mut [u8]) -> Result<()> {
        let read = self.wanted(number).try_for_each(|run| {
            let bytes = &mut buffer[within(number, &run)];
            self.pages.read(&self.ram, run.start, bytes)
        });
        self.chunks[number as usize].store(FREE, Ordering::Release);
        self.unprotect(number);
        // Whoever has seen that it is being read waits by now.
        drop(lock(&self.work));
        self.changed.notify_all();
        read
    }

    /// The pages of a chunk that are saved, in runs.
    fn wanted(&self, number: u64) -> impl Iterator<Item = Range<u64>> + use<'_> {
        let pages = pages_of(number, self.pages.count());
        self.wanted.get().into_iter().flat_map(move |wanted| wanted.runs(pages.clone(), CHUNK_PAGES as u64))
    }

    fn unprotect(&self, number: u64) {
        let pages = pages_of(number, self.pages.count());
        if let Err(error) = self.protection.unprotect(&positions(&pages)) {
            tracing::error!("guest memory stays protected: {error}");
        }
    }

    /// Reads one chunk after the other, and writes those that were read.
    fn write(&self) {
        let mut own = vec![0; CHUNK];
        let mut work = lock(&self.work);
        loop {
            if work.is_over() {
                return;
            }
            let next = work.next.filter(|next| *next < self.chunks.len() as u64);
            let written = if let Some((number, buffer)) = work.copies.pop_front() {
                drop(work);
                let written = self.write_chunk(number, &buffer);
                lock(&self.work).spare.push(buffer);
                Some(written)
            } else if let Some(number) = next {
                work.next = Some(number + 1);
                drop(work);
                self.claim(number).then(|| self.read(number, &mut own).and_then(|()| self.write_chunk(number, &own)))
            } else {
                work = wait(&self.changed, work);
                continue;
            };
            match written {
                Some(Err(error)) => return self.fail(error),
                Some(Ok(bytes)) => {
                    work = lock(&self.work);
                    (work.left, work.written) = (work.left - 1, work.written + bytes);
                    self.changed.notify_all();
                }
                None => work = lock(&self.work),
            }
        }
    }

    fn write_chunk(&self, number: u64, buffer: &[u8]) -> Result<u64> {
        let mut written = 0;
        for run in self.wanted(number) {
            written += self.pages.write(run.start, &buffer[within(number, &run)])?;
        }
        Ok(written)
    }
}

impl Keeper for Shared {
    fn keep(&self, addresses: &Range<usize>) {
        let position = |address| self.protection.position(address);
        let (Some(first), Some(last)) = (position(addresses.start), position(addresses.end - 1)) else { return };
        (first / CHUNK as u64..=last / CHUNK as u64).for_each(|number| self.keep_chunk(number));
    }

    fn load(&self, _: &Range<usize>) -> Result<()> {
        // It is all there.
        Ok(())
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// The bytes of a run of pages in the buffer of its chunk.
fn within(number: u64, run: &Range<u64>) -> Range<usize> {
    let at = |page: u64| (page - number * CHUNK_PAGES as u64) as usize * PAGE;
    at(run.start)..at(run.end)
}

fn positions(pages: &Range<u64>) -> Range<u64> {
    pages.start * PAGE as u64..pages.end * PAGE as u64
}

#[cfg(test)]
mod tests;
#[cfg(feature = "demo")]
#[cfg(test)]
pub(crate) mod waiting;
