//! Loads the memory of a guest that runs already.
//!
//! Whoever touches a page that is not there waits until its chunk has been read and checked; meanwhile, and without being
//! asked, threads read all others in their order. Pages that the guest gives back are not loaded any more.
//!
//! If a chunk cannot be read, the owner is told to stop the guest before anybody goes on with pages of zeroes in its place,
//! and devices that ask for that memory get the error.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::{JoinHandle, available_parallelism};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use vm_memory::GuestMemoryBackend;

use super::chain::MemoryChain;
use super::dirty::DirtyPages;
use super::memory::{CHUNK, PAGE, chunk_length, is_zero, ranges_of, require_ranges, runs};
use crate::memory::{GuestRam, Keeper, MissingPages};
use crate::progress::{Progress, step};
use crate::sync::{lock, wait};
use crate::thread::{Panicked, caught, spawn};
use crate::wait::{Ended, Wait, cancelled};
use crate::{Error, ErrorKind, Result};

/// More threads than this wait for storage, not for each other.
const MAX_THREADS: usize = 4;
const STACK: usize = 256 << 10;
/// How often the caller's observer is asked.
const INTERVAL: Duration = Duration::from_millis(20);

/// What is known of a chunk.
const MISSING: u8 = 0;
const BEING_READ: u8 = 1;
const LOADED: u8 = 2;

/// Memory that is loaded while its guest runs. Dropping it ends that: what is missing then is zeroes.
#[derive(Debug)]
pub(crate) struct LazyMemory {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Stops the guest, because its memory cannot be loaded.
type OnFailure = Box<dyn Fn(&Failure) + Send + Sync>;

struct Shared {
    ram: GuestRam,
    missing: MissingPages,
    /// Where the memory comes from, for errors.
    source: String,
    chunks: Vec<AtomicU8>,
    work: Mutex<Work>,
    changed: Condvar,
    on_failure: Mutex<Option<OnFailure>>,
    complete: OnceLock<Instant>,
    /// Readable once nobody waits for memory any more.
    end: OwnedFd,
}

#[derive(Debug)]
struct Work {
    /// Chunks that somebody waits for.
    wanted: VecDeque<u64>,
    /// The pages that somebody waits for, by the chunks that they are in.
    waiting: HashMap<u64, BTreeSet<u64>>,
    /// The next chunk that nobody has waited for; `None` before those are loaded.
    next: Option<u64>,
    /// How many chunks are not loaded.
    left: u64,
    /// Pages that the guest has given back.
    given_back: DirtyPages,
    failed: Option<Failure>,
    /// Nothing is to be loaded any more.
    ended: bool,
    /// Page faults are not handled here any more.
    finished: bool,
}

/// Why memory could not be loaded.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    text: String,
}

impl Failure {
    /// What a caller is told who needs the memory.
    fn error(&self) -> Error {
        let remedy = "check the storage of that file; if the guest has run since, start the VM from its disks, as after a \
                      power failure";
        Error::new(self.kind, self.text.clone()).with_remedy(remedy)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl Work {
    fn is_over(&self) -> bool {
        self.ended || self.failed.is_some() || self.left == 0
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("source", &self.source).field("work", &self.work).finish_non_exhaustive()
    }
}

impl LazyMemory {
    /// Begins to load the pages of `ram` that somebody touches from `chain`, which is the memory in `source`. It must be new
    /// memory that no other process uses.
    ///
    /// # Errors
    /// Page faults of this memory cannot be handled on this host; `ram` has other ranges; or no thread can be started.
    pub(crate) fn new(ram: GuestRam, chain: MemoryChain, source: String) -> Result<Self> {
        require_ranges(chain.ranges(), &ranges_of(&ram))?;
        let cannot = |e| Error::io("cannot handle page faults of guest memory", e);
        let missing = MissingPages::new(&ram).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput => {
                let what = "this host does not let xvirt handle page faults of guest memory";
                Error::new(ErrorKind::HostUnsupported, what).because(error)
            }
            _ => cannot(error),
        })?;
        let end = eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| cannot(e.into()))?;
        let chunks: Vec<_> =
            (0..chain.chunks()).map(|number| AtomicU8::new(if chain.has(number) { MISSING } else { LOADED })).collect();
        let left = chunks.iter().filter(|chunk| chunk.load(Ordering::Relaxed) == MISSING).count() as u64;
        let (wanted, waiting, next, failed) = Default::default();
        let given_back = DirtyPages::none_of(&ram);
        let work = Work { wanted, waiting, next, left, given_back, failed, ended: false, finished: false };
        let work = Mutex::new(work);
        let (changed, on_failure, complete) = Default::default();
        let shared = Arc::new(Shared { ram, missing, source, chunks, work, changed, on_failure, complete, end });
        let mut lazy = Self { shared, threads: Vec::new() };
        lazy.shared.set_keeper(Some(Arc::clone(&lazy.shared) as _));
        lazy.start("lazy-faults", Shared::serve)?;
        // The last of them closes the files.
        let chain = Arc::new(chain);
        for _ in 0..available_parallelism().map_or(1, usize::from).min(MAX_THREADS) {
            let chain = Arc::clone(&chain);
            lazy.start("lazy-load", move |shared| shared.load_chunks(&chain))?;
        }
        if left == 0 {
            lazy.shared.succeed();
        }
        Ok(lazy)
    }

    fn start(&mut self, name: &str, work: impl FnOnce(&Shared) + Send + 'static) -> Result<()> {
        let (shared, panicked) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        let ended = move |panic: Panicked| panicked.fail(Error::new(ErrorKind::Io, panic.message));
        let thread = spawn(name, STACK, tracing::Span::current(), move || work(&shared), ended);
        let cannot = |e| Error::io("cannot start a thread that loads the guest's memory", e);
        self.threads.push(thread.map_err(cannot)?);
        Ok(())
    }

    /// Calls `stop` if memory cannot be loaded, before anybody goes on without it. It must return at once, after which
    /// no vCPU may execute another instruction of the guest.
    ///
    /// # Errors
    /// That has happened already.
    pub(crate) fn on_failure(&self, stop: impl Fn(&Failure) + Send + Sync + 'static) -> Result<()> {
        let mut on_failure = lock(&self.shared.on_failure);
        if let Some(failed) = &lock(&self.shared.work).failed {
            return Err(failed.error());
        }
        *on_failure = Some(Box::new(stop));
        Ok(())
    }

    /// Loads nothing any more, if not all memory is there: who waits for memory goes on without, after `stop`, which must
    /// do what is asked of [`on_failure`](Self::on_failure). Nobody is told of failures any more, and what was called for
    /// one does not run when this returns.
    pub(crate) fn end(&self, stop: impl FnOnce()) {
        let mut on_failure = lock(&self.shared.on_failure);
        on_failure.take();
        if lock(&self.shared.work).is_over() {
            return;
        }
        stop();
        lock(&self.shared.work).ended = true;
        drop(on_failure);
        self.shared.finish();
    }

    /// Begins to load what nobody waits for.
    pub(crate) fn load_all(&self) {
        lock(&self.shared.work).next.get_or_insert(0);
        self.shared.changed.notify_all();
    }

    /// When all memory was there, if it is.
    pub(crate) fn complete(&self) -> Option<Instant> {
        self.shared.complete.get().copied()
    }

    /// Waits until all memory is there, or cannot be loaded.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(crate) fn wait(&self, progress: &dyn Progress) -> Result<()> {
        self.load_all();
        let Shared { work, changed, .. } = &*self.shared;
        let (chunk, total) = (CHUNK as u64, self.shared.chunks.len() as u64);
        loop {
            // The observer must not keep the threads from working.
            let left = lock(work).left;
            step(progress, (total - left) * chunk, Some(total * chunk), "loading the guest's memory")?;
            let wait = Wait::at_most(INTERVAL);
            match wait.until_done(changed, work, lock(work), |work| work.finished).1 {
                Ok(()) => return Ok(()),
                Err(Ended::TooLate) => {}
                Err(Ended::Cancelled) => return Err(cancelled("the guest's memory, which is still being loaded")),
            }
        }
    }
}

impl Drop for LazyMemory {
    fn drop(&mut self) {
        self.end(|| {});
        // Threads that wait for work end although a failure came first.
        self.shared.finish();
        for thread in self.threads.drain(..) {
            // They handle their panics.
            let _ = thread.join();
        }
        self.shared.set_keeper(None);
    }
}

impl Shared {
    fn set_keeper(&self, keeper: Option<Arc<dyn Keeper>>) {
        self.ram.iter().for_each(|region| region.get_mmap().bitmap().set_keeper(keeper.clone()));
    }

    /// The work is over: nobody waits for memory any more.
    fn finish(&self) {
        self.missing.release();
        lock(&self.work).finished = true;
        self.changed.notify_all();
        // Cannot fail: the counter is far from full.
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
    }

    /// All memory is there.
    fn succeed(&self) {
        // Others may set theirs once this is finished.
        self.set_keeper(None);
        // Set once.
        let _ = self.complete.set(Instant::now());
        self.finish();
    }

    /// Memory is missing for good. The keeper stays, so that no device uses what is there instead.
    fn fail(&self, error: Error) {
        let kind = error.kind();
        let text = format!("the guest's memory cannot be loaded from {}: {}", self.source, error.without_remedy());
        let failure = Failure { kind, text };
        let on_failure = lock(&self.on_failure);
        if lock(&self.work).is_over() {
            return;
        }
        if let Some(stop) = &*on_failure {
            // A log subscriber may panic, and nobody must wait forever.
            let _ = caught(|| stop(&failure));
        }
        // The guest has stopped before anybody knows.
        lock(&self.work).failed = Some(failure);
        drop(on_failure);
        self.finish();
    }

    /// Fails if memory is missing for good.
    fn require_going_on(&self, work: &Work) -> Result<()> {
        if let Some(failed) = &work.failed {
            return Err(failed.error());
        }
        if work.ended {
            let what = format!("the guest's memory is not loaded from {} any more", self.source);
            return Err(Error::new(ErrorKind::Cancelled, what));
        }
        Ok(())
    }

    /// Sees to the pages that somebody waits for.
    fn serve(&self) {
        if let Err(error) = self.missing.serve(self.end.as_fd(), |position| self.want(position)) {
            self.fail(Error::io("cannot handle page faults", error));
        }
    }

    /// Somebody waits for the page at `position`.
    fn want(&self, position: u64) {
        let number = position / CHUNK as u64;
        let mut work = lock(&self.work);
        if self.state(number) == LOADED {
            drop(work);
            // Not in the file, or given back.
            return self.place_zeroes(position);
        }
        // A thread that was interrupted, or woken for another page, is heard of again.
        let page = self.missing.page() as u64;
        work.waiting.entry(number).or_default().insert(position / page * page);
        self.hurry(work, number);
    }

    /// Loads a chunk before others.
    fn hurry(&self, mut work: MutexGuard<'_, Work>, number: u64) {
        if self.state(number) == MISSING && !work.wanted.contains(&number) {
            work.wanted.push_back(number);
            drop(work);
            self.changed.notify_all();
        }
    }

    fn state(&self, number: u64) -> u8 {
        self.chunks.get(number as usize).map_or(LOADED, |chunk| chunk.load(Ordering::Acquire))
    }

    /// Fills a page that somebody waits for with zeroes, unless it is there.
    fn place_zeroes(&self, position: u64) {
        if let Err(error) = self.missing.place_zeroes(position) {
            self.fail(cannot_place(error));
        }
    }

    /// The work of a thread.
    fn load_chunks(&self, chain: &MemoryChain) {
        let mut buffer = vec![0; CHUNK];
        while let Some(number) = self.next_chunk() {
            match self.load_chunk(chain, number, &mut buffer) {
                Ok(()) => self.loaded(number),
                Err(error) => self.fail(error),
            }
        }
    }

    /// The next chunk for the caller to load; `None` if the work is over.
    fn next_chunk(&self) -> Option<u64> {
        let mut work = lock(&self.work);
        loop {
            if work.is_over() {
                return None;
            }
            let next = work.wanted.pop_front().or_else(|| {
                let next = work.next.filter(|next| *next < self.chunks.len() as u64)?;
                work.next = Some(next + 1);
                Some(next)
            });
            match next {
                Some(number) if self.state(number) == MISSING => {
                    self.chunks[number as usize].store(BEING_READ, Ordering::Release);
                    return Some(number);
                }
                Some(_) => {}
                None => work = wait(&self.changed, work),
            }
        }
    }

    fn load_chunk(&self, chain: &MemoryChain, number: u64, buffer: &mut [u8]) -> Result<()> {
        let bytes = &mut buffer[..chunk_length(chain.length(), number)];
        chain.read(number, bytes)?;
        let start = number * CHUNK as u64;
        if self.missing.page() == CHUNK {
            // It is never given back.
            return self.missing.place(start, bytes).map_err(cannot_place);
        }
        // Who gives pages of this chunk back from now on waits until it is loaded.
        let first = start / PAGE as u64;
        let there: Vec<_> = {
            let given_back = &lock(&self.work).given_back;
            let pages = bytes.chunks(PAGE).zip(first..);
            pages.map(|(bytes, page)| !is_zero(bytes) && !given_back.contains(page)).collect()
        };
        let mut runs = runs(there.into_iter()).into_iter();
        runs.try_for_each(|run| self.missing.place(start + run.start as u64, &bytes[run])).map_err(cannot_place)
    }

    /// A chunk has been loaded.
    fn loaded(&self, number: u64) {
        let mut work = lock(&self.work);
        if work.is_over() {
            return;
        }
        self.chunks[number as usize].store(LOADED, Ordering::Release);
        work.left -= 1;
        let (waiting, done) = (work.waiting.remove(&number), work.left == 0);
        drop(work);
        self.changed.notify_all();
        waiting.into_iter().flatten().for_each(|position| self.place_zeroes(position));
        if done {
            self.succeed();
        }
    }

    /// The chunks of memory at these addresses of this process.
    fn chunks_at(&self, addresses: &Range<usize>) -> Range<u64> {
        let positions = self.missing.positions(addresses);
        positions.start / CHUNK as u64..positions.end.div_ceil(CHUNK as u64)
    }
}

impl Keeper for Shared {
    fn keep(&self, addresses: &Range<usize>) {
        let positions = self.missing.positions(addresses);
        let mut work = lock(&self.work);
        work.given_back.insert_range(positions.start / PAGE as u64..positions.end / PAGE as u64);
        for number in self.chunks_at(addresses) {
            while !work.is_over() && self.state(number) == BEING_READ {
                work = wait(&self.changed, work);
            }
        }
    }

    fn load(&self, addresses: &Range<usize>) -> Result<()> {
        for number in self.chunks_at(addresses) {
            while self.state(number) != LOADED {
                let work = lock(&self.work);
                self.require_going_on(&work)?;
                self.hurry(work, number);
                let work = lock(&self.work);
                if !work.is_over() && self.state(number) != LOADED {
                    drop(wait(&self.changed, work));
                }
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.require_going_on(&lock(&self.work))
    }
}

fn cannot_place(error: io::Error) -> Error {
    Error::io("cannot fill a page of guest memory", error)
}
