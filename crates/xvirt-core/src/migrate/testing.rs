//! Fake VMs with real memory, and one disk that both sides share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use uuid::Uuid;
use vm_memory::{Bytes, GuestAddress};
use xvirt_testing::random::Random;

use super::message::Offer;
use super::source::SourceVm;
use super::target::TargetVm;
use crate::memory::{GuestRam, MemoryBacking, MemoryFile, take_over};
use crate::state::DirtyPages;
use crate::state::{PAGE, guest_slices, ranges_of};
use crate::sync::{Mutex, lock};
use crate::{Error, ErrorKind, Result};

/// Two ranges of memory with a hole, of which the first ends within a chunk.
const RANGES: [(u64, usize); 2] = [(0, 300 * PAGE), (0x1_0000_0000, 900 * PAGE)];
pub(super) const PAGES: u64 = 1200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Source,
    Target,
}

/// What a VM does, and what can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Offer,
    StartDirtyLog,
    TakeDirty,
    Flush,
    Park,
    Release,
    Reclaim,
    Accept,
    Prepare,
    Run,
}

impl Task {
    pub(super) const ALL: [Self; 10] = [
        Self::Offer,
        Self::StartDirtyLog,
        Self::TakeDirty,
        Self::Flush,
        Self::Park,
        Self::Release,
        Self::Reclaim,
        Self::Accept,
        Self::Prepare,
        Self::Run,
    ];
}

/// Both hosts and the disk that they share. It fails the test as soon as two guests run, or one without the disk.
#[derive(Default)]
pub(super) struct World {
    state: Mutex<State>,
    pub(super) failing: Vec<Task>,
}

#[derive(Clone, Copy, Default)]
struct State {
    running: Option<Side>,
    locked: Option<Side>,
}

impl World {
    pub(super) fn new(failing: &[Task]) -> Arc<Self> {
        let state = State { running: Some(Side::Source), locked: Some(Side::Source) };
        Arc::new(Self { state: Mutex::new(state), failing: failing.to_vec() })
    }

    pub(super) fn running(&self) -> Option<Side> {
        lock(&self.state).running
    }

    pub(super) fn locked(&self) -> Option<Side> {
        lock(&self.state).locked
    }

    fn run(&self, side: Side) {
        let mut state = lock(&self.state);
        assert_eq!(state.running, None, "two guests run");
        assert_eq!(state.locked, Some(side), "a guest runs without its disk");
        state.running = Some(side);
    }

    fn stop(&self, side: Side) {
        let mut state = lock(&self.state);
        assert_eq!(state.running, Some(side));
        state.running = None;
    }

    fn lock_disk(&self, side: Side) -> Result<()> {
        let mut state = lock(&self.state);
        match state.locked {
            Some(other) if other != side => Err(Error::new(ErrorKind::Busy, "the disk is locked by the other side")),
            _ => {
                state.locked = Some(side);
                Ok(())
            }
        }
    }

    fn unlock_disk(&self, side: Side) {
        let locked = &mut lock(&self.state).locked;
        if *locked == Some(side) {
            *locked = None;
        }
    }

    /// The process of a side was killed.
    fn crash(&self, side: Side) {
        self.unlock_disk(side);
        let running = &mut lock(&self.state).running;
        if *running == Some(side) {
            *running = None;
        }
    }

    fn attempt(&self, task: Task) -> Result<()> {
        let fails = self.failing.contains(&task);
        if fails { Err(Error::new(ErrorKind::NoSpace, format!("{task:?} fails"))) } else { Ok(()) }
    }
}

/// A guest that writes to its memory while it runs.
pub(super) struct Guest {
    pub(super) ram: GuestRam,
    /// Held while the guest writes.
    inside: Mutex<Inside>,
    pub(super) ended: AtomicBool,
}

struct Inside {
    runs: bool,
    dirty: DirtyPages,
    random: Random,
}

impl Guest {
    fn new(ram: GuestRam, runs: bool) -> Self {
        let inside = Inside { runs, dirty: DirtyPages::none(PAGES), random: Random::new(12) };
        Self { ram, inside: Mutex::new(inside), ended: AtomicBool::new(false) }
    }

    /// Writes to `count` random pages, which become zeroes at times, if the guest runs.
    pub(super) fn write(&self, count: u64) {
        let mut inside = lock(&self.inside);
        for _ in 0..count {
            if !inside.runs {
                return;
            }
            let page = inside.random.below_u64(PAGES);
            let value = if inside.random.below_u64(3) == 0 { 0 } else { 1 + inside.random.below_u64(255) as u8 };
            self.ram.write_slice(&[value; PAGE], address(page)).unwrap();
            inside.dirty.insert(page);
        }
    }
}

fn address(page: u64) -> GuestAddress {
    let low = (RANGES[0].1 / PAGE) as u64;
    let page_size = PAGE as u64;
    GuestAddress(if page < low { page * page_size } else { RANGES[1].0 + (page - low) * page_size })
}

pub(super) fn memory() -> GuestRam {
    GuestRam::from_ranges(&RANGES.map(|(start, length)| (GuestAddress(start), length))).unwrap()
}

/// Maps the memory of a local hand-over.
pub(super) fn map(files: &[MemoryFile]) -> Result<GuestRam> {
    take_over(&RANGES.map(|(start, length)| (start, length as u64)), files, &MemoryBacking::default())
}

/// A memory file with these seals, and where a range is in it.
pub(super) fn memory_file(length: u64, seals: SealFlags, offset: u64) -> MemoryFile {
    let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, length).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    MemoryFile { file: file.into(), offset }
}

/// The files for both ranges, the second of which begins within its file.
pub(super) fn memory_files() -> Vec<MemoryFile> {
    let file = |offset, length| memory_file(offset + length as u64, SealFlags::SHRINK, offset);
    vec![file(0, RANGES[0].1), file(16 * PAGE as u64, RANGES[1].1)]
}

/// All bytes of a memory.
pub(super) fn contents(ram: &GuestRam) -> Vec<u8> {
    let (mut bytes, mut done) = (vec![0; PAGES as usize * PAGE], 0);
    for slice in guest_slices(ram, &ranges_of(ram), 0, bytes.len()).unwrap() {
        done += slice.copy_to(&mut bytes[done..]);
    }
    bytes
}

pub(super) struct FakeSource {
    world: Arc<World>,
    pub(super) guest: Arc<Guest>,
    /// How many pages the guest writes per round.
    writes: u64,
    logging: AtomicBool,
    pub(super) throttled: Mutex<Vec<u8>>,
}

impl FakeSource {
    pub(super) fn new(world: &Arc<World>, writes: u64) -> Self {
        Self::with_memory(memory(), world, writes)
    }

    pub(super) fn with_memory(ram: GuestRam, world: &Arc<World>, writes: u64) -> Self {
        let guest = Arc::new(Guest::new(ram, true));
        guest.write(90);
        let throttled = Mutex::new(Vec::new());
        Self { world: Arc::clone(world), guest, writes, logging: AtomicBool::new(false), throttled }
    }

    /// Whether nothing of the migration is left.
    pub(super) fn is_clean(&self) -> bool {
        !self.logging.load(Ordering::Relaxed) && lock(&self.throttled).last().is_none_or(|last| *last == 0)
    }
}

impl Drop for FakeSource {
    fn drop(&mut self) {
        self.guest.ended.store(true, Ordering::Relaxed);
        if std::thread::panicking() {
            self.world.crash(Side::Source);
        }
    }
}

impl SourceVm for FakeSource {
    fn offer(&self) -> Result<Offer> {
        self.world.attempt(Task::Offer)?;
        Ok(Offer {
            uuid: Uuid::nil(),
            name: "web-1".to_owned(),
            configuration: "{}".to_owned(),
            memory: ranges_of(&self.guest.ram),
            requirements: vec![1, 2, 3],
            version: "0.1.0".to_owned(),
            check: false,
        })
    }

    fn memory(&self) -> &GuestRam {
        &self.guest.ram
    }

    fn start_dirty_log(&self) -> Result<()> {
        self.world.attempt(Task::StartDirtyLog)?;
        assert!(!self.logging.swap(true, Ordering::Relaxed), "the log is started twice");
        lock(&self.guest.inside).dirty = DirtyPages::none(PAGES);
        // While the first round is sent.
        self.guest.write(self.writes);
        Ok(())
    }

    fn take_dirty(&self) -> Result<DirtyPages> {
        self.world.attempt(Task::TakeDirty)?;
        assert!(self.logging.load(Ordering::Relaxed), "the log is not started");
        let taken = std::mem::replace(&mut lock(&self.guest.inside).dirty, DirtyPages::none(PAGES));
        // The guest writes on.
        self.guest.write(self.writes);
        Ok(taken)
    }

    fn stop_dirty_log(&self) {
        self.logging.store(false, Ordering::Relaxed);
    }

    fn throttle(&self, percent: u8) -> Result<()> {
        lock(&self.throttled).push(percent);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.world.attempt(Task::Flush)
    }

    fn park(&mut self) -> Result<()> {
        lock(&self.guest.inside).runs = false;
        self.world.stop(Side::Source);
        self.world.attempt(Task::Park)
    }

    fn release(&mut self) -> Result<Vec<u8>> {
        self.world.unlock_disk(Side::Source);
        self.world.attempt(Task::Release)?;
        // Collecting the state writes to memory.
        self.guest.ram.write_slice(&[7; 100], address(3)).unwrap();
        lock(&self.guest.inside).dirty.insert(3);
        Ok(b"state".to_vec())
    }

    fn reclaim(&mut self) -> Result<()> {
        if let Err(error) = self.world.attempt(Task::Reclaim) {
            self.world.unlock_disk(Side::Source);
            return Err(error);
        }
        self.world.lock_disk(Side::Source)?;
        if self.world.running() != Some(Side::Source) {
            self.world.run(Side::Source);
        }
        lock(&self.guest.inside).runs = true;
        Ok(())
    }
}

pub(super) struct FakeTarget {
    world: Arc<World>,
    pub(super) ram: GuestRam,
    runs: bool,
}

impl FakeTarget {
    pub(super) fn new(world: &Arc<World>, files: Option<&[MemoryFile]>) -> Result<Self> {
        let ram = files.map_or_else(|| Ok(memory()), map)?;
        Ok(Self { world: Arc::clone(world), ram, runs: false })
    }
}

impl Drop for FakeTarget {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.world.crash(Side::Target);
        } else if !self.runs {
            self.world.unlock_disk(Side::Target);
        }
    }
}

impl TargetVm for FakeTarget {
    type Running = Self;

    fn memory(&self) -> &GuestRam {
        &self.ram
    }

    fn prepare(&mut self, state: &[u8]) -> Result<()> {
        assert_eq!(state, b"state");
        self.world.lock_disk(Side::Target)?;
        self.world.attempt(Task::Prepare)
    }

    fn run(mut self) -> Result<Self> {
        self.world.attempt(Task::Run)?;
        self.world.run(Side::Target);
        self.runs = true;
        Ok(self)
    }
}
