//! The driver-visible side of a disk.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO,
    VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_WRITE_ZEROES,
};

use super::error::IoErrorSink;
use super::handler::{BlockHandler, Disk};
use super::statistics::BlockCounters;
use super::throttle::Throttle;
use crate::config::{IoEngine, RateLimit};
use crate::disk::{BlockBackend, Engine};
use crate::sandbox::Work;
use crate::sync::lock;
use crate::virtio::device::read_config_bytes;
use crate::virtio::{BlockState, DeviceKind, DeviceState, Handler, VirtioDevice};
use crate::{Error, ErrorKind, Result};

/// The unit of the protocol, in bytes.
pub(super) const SECTOR: u64 = 512;
/// Size of a serial number in bytes.
pub(super) const SERIAL: usize = 20;
/// The most queues of a disk; the handler keeps one bit for each in a `u64`.
const MAX_QUEUES: u16 = 64;
/// The number of descriptors of a queue.
const QUEUE_SIZE: u16 = 256;
/// The most ranges in a discard or write-zeroes request.
pub(super) const MAX_RANGES: u32 = 32;
/// The most sectors in one range to discard: 1 GiB.
pub(super) const MAX_DISCARD: u32 = 1 << 21;
/// The most sectors in one range to zero, because a backend may have to write them: 32 MiB.
pub(super) const MAX_ZEROES: u32 = 1 << 16;
/// The preferred alignment of discards in sectors (4 KiB), unless the disk's blocks are larger.
const DISCARD_ALIGNMENT: u32 = 8;
/// The smallest block size: a sector.
const MIN_BLOCK: u32 = SECTOR as u32;
/// The largest block size reported to the driver, 16 MiB: the field counts sectors in 16 bits.
const MAX_BLOCK: u32 = 1 << 24;

/// A virtio disk.
pub(crate) struct Block {
    disk: Arc<Disk>,
    state: BlockState,
    queue_sizes: Vec<u16>,
    /// The backend is one of this crate's.
    ours: bool,
    choice: IoEngine,
}

impl BlockState {
    /// The state of a new disk on `backend`, with its size and access mode.
    pub(crate) fn new(backend: &dyn BlockBackend, serial: impl Into<String>, queues: u16) -> Self {
        let sectors = backend.capacity() / SECTOR;
        let block_size = Some(backend.block_size()).filter(|size| is_block_size(*size)).unwrap_or(MIN_BLOCK);
        Self { serial: serial.into(), queues, sectors, read_only: backend.read_only(), block_size }
    }
}

fn is_block_size(size: u32) -> bool {
    size.is_power_of_two() && (MIN_BLOCK..=MAX_BLOCK).contains(&size)
}

impl Block {
    /// Builds the disk of `state` on `backend`, with I/O by the engine of `choice`. `sink` receives failed requests.
    ///
    /// If the backend is larger than the state says, [`refresh_capacity`](Self::refresh_capacity) makes the rest
    /// visible.
    pub(crate) fn new(
        backend: Arc<dyn BlockBackend>,
        choice: IoEngine,
        sink: IoErrorSink,
        state: BlockState,
    ) -> Result<Self> {
        let wrong = |what: String, remedy: &str| Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy(remedy));
        if backend.capacity() / SECTOR < state.sectors {
            return wrong(
                format!(
                    "the disk has {} bytes, but had {} in the saved state",
                    backend.capacity(),
                    state.sectors.saturating_mul(SECTOR)
                ),
                "give the VM the disk that it was saved with",
            );
        }
        if backend.read_only() && !state.read_only {
            return wrong(
                "the disk is read-only, but was writable in the saved state".into(),
                "open the disk for writing",
            );
        }
        if state.serial.len() > SERIAL {
            return wrong(format!("the disk serial {:?} is too long", state.serial), "use at most 20 bytes");
        }
        if !(1..=MAX_QUEUES).contains(&state.queues) {
            return wrong(format!("the disk has {} queues", state.queues), "use 1 to 64 queues");
        }
        if !is_block_size(state.block_size) {
            return wrong(
                format!("the disk has blocks of {} bytes", state.block_size),
                "use a power of two of at least 512",
            );
        }
        let mut serial = [0; SERIAL];
        for (byte, new) in serial.iter_mut().zip(state.serial.bytes()) {
            *byte = new;
        }
        let (read_only, sectors) = (state.read_only, AtomicU64::new(state.sectors));
        let engine = Engine::new(Arc::clone(&backend), choice)?;
        let ring = AtomicBool::new(engine.kind() == IoEngine::IoUring);
        let counters = Arc::default();
        let (throttle, engine) = (Throttle::open(), Mutex::new(Some(engine)));
        let disk = Arc::new(Disk { backend, sink, sectors, read_only, serial, ring, counters, throttle, engine });
        let queue_sizes = vec![QUEUE_SIZE; state.queues.into()];
        Ok(Self { disk, queue_sizes, state, choice, ours: false })
    }

    /// Continues the counters of a device that this one replaces.
    pub(crate) fn with_counters(mut self, counters: &Arc<BlockCounters>) -> Self {
        // No other reference exists before the device is in a slot.
        if let Some(disk) = Arc::get_mut(&mut self.disk) {
            disk.counters = Arc::clone(counters);
        }
        self
    }

    /// Declares the backend to be one of this crate's, whose system calls are known, so that a seccomp filter may
    /// apply.
    pub(crate) fn with_image(self) -> Self {
        Self { ours: true, ..self }
    }

    /// The I/O engine in use, never [`Auto`](IoEngine::Auto).
    pub(crate) fn engine(&self) -> IoEngine {
        if self.disk.ring.load(Ordering::Relaxed) { IoEngine::IoUring } else { IoEngine::Threads }
    }

    /// The rate limit.
    pub(crate) fn limit(&self) -> RateLimit {
        self.disk.throttle.limit()
    }

    /// Sets the rate limit. Waiting requests are checked again when the transport is kicked.
    pub(crate) fn set_limit(&self, limit: RateLimit) {
        self.disk.throttle.set(limit);
    }

    /// The counters of its requests.
    pub(crate) fn counters(&self) -> &Arc<BlockCounters> {
        &self.disk.counters
    }

    /// Takes over the size of a backend that has grown. The transport's `config_changed` notifies the driver.
    pub(crate) fn refresh_capacity(&self) {
        self.disk.sectors.store(self.disk.backend.capacity() / SECTOR, Ordering::Release);
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("backend", &self.disk.backend).field("state", &self.state).finish()
    }
}

impl VirtioDevice for Block {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Block
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn features(&self) -> u64 {
        let always = 1 << VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_BLK_SIZE | 1 << VIRTIO_BLK_F_FLUSH;
        let writable = 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES;
        let several = if self.state.queues > 1 { 1 << VIRTIO_BLK_F_MQ } else { 0 };
        let blocks = if self.state.block_size > MIN_BLOCK { 1 << VIRTIO_BLK_F_TOPOLOGY } else { 0 };
        always | several | blocks | if self.state.read_only { 1 << VIRTIO_BLK_F_RO } else { writable }
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        // struct virtio_blk_config (section 5.2.4); fields of features that are not offered are zero.
        let mut config = [0; 60];
        let mut put = |at: usize, value: &[u8]| config[at..at + value.len()].copy_from_slice(value);
        put(0, &self.disk.sectors.load(Ordering::Acquire).to_le_bytes());
        // A request has two descriptors besides its data segments.
        put(12, &u32::from(QUEUE_SIZE - 2).to_le_bytes());
        put(20, &MIN_BLOCK.to_le_bytes());
        let block = self.state.block_size / MIN_BLOCK;
        if block > 1 {
            // The physical block size and the minimum I/O size; no optimal size is given.
            put(24, &[block.trailing_zeros() as u8, 0]);
            put(26, &(block as u16).to_le_bytes());
        }
        put(34, &self.state.queues.to_le_bytes());
        put(36, &MAX_DISCARD.to_le_bytes());
        put(40, &MAX_RANGES.to_le_bytes());
        put(44, &DISCARD_ALIGNMENT.max(block).to_le_bytes());
        put(48, &MAX_ZEROES.to_le_bytes());
        put(52, &MAX_RANGES.to_le_bytes());
        put(56, &[1]);
        read_config_bytes(&config, offset, data);
    }

    fn activate(&self, features: u64) -> Result<Box<dyn Handler>> {
        // A driver without the flush feature expects completed writes to be durable (section 5.2.6.2).
        let write_back = features >> VIRTIO_BLK_F_FLUSH & 1 != 0;
        // The engine is absent if the previous handler panicked.
        let engine = lock(&self.disk.engine).take();
        let engine = engine.map_or_else(|| Engine::new(Arc::clone(&self.disk.backend), self.choice), Ok)?;
        Ok(Box::new(BlockHandler::new(self.disk.clone(), engine, write_back)))
    }

    fn save(&self) -> DeviceState {
        DeviceState::Block(BlockState { sectors: self.disk.sectors.load(Ordering::Acquire), ..self.state.clone() })
    }

    fn work(&self) -> Option<Work> {
        self.ours.then_some(Work::Disk)
    }
}
