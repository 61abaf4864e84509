//! A driver for tests: it negotiates, posts chains and waits for them, through the BAR and guest memory.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vm_memory::{Bytes, GuestAddress};

use super::transport::{VirtioPci, VirtioPciState};
use super::{DeviceKind, DeviceState, Handler, VirtioDevice};
use crate::Result;
use crate::device::Device;
use crate::memory::GuestRam;
use crate::pci::PciFunction;
use crate::pci::testing::TestHost;
use crate::sandbox::Work;

pub(super) const BAR: u64 = 0xc000_0000;
/// The number of descriptors in each queue.
pub(super) const SIZE: u16 = 16;
/// The address of test buffers; the queues are below it.
pub(super) const DATA: u64 = 0x10_0000;
pub(super) const RAM: u64 = 0x40_0000;
const MSIX_CONTROL: u16 = 0x9a;
/// The message data of the first vector.
pub(super) const FIRST_MESSAGE: u32 = 0x30;

pub(super) const VERSION_1: u64 = 1 << 32;
pub(super) const EVENT_IDX: u64 = 1 << 29;
pub(super) const WRITE: u16 = 2;
pub(super) const NEXT: u16 = 1;
pub(super) const INDIRECT: u16 = 4;

/// A device that consists only of its handler.
pub(super) struct Bare<F> {
    pub(super) work: Option<Work>,
    pub(super) handler: F,
}

impl<F> fmt::Debug for Bare<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bare").field("work", &self.work).finish_non_exhaustive()
    }
}

impl<F: Fn() -> Box<dyn Handler> + Send + Sync> VirtioDevice for Bare<F> {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Rng
    }

    fn queue_sizes(&self) -> &[u16] {
        &[SIZE]
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, _: usize, _: &mut [u8]) {}

    fn activate(&self, _: u64) -> Result<Box<dyn Handler>> {
        Ok((self.handler)())
    }

    fn save(&self) -> DeviceState {
        DeviceState::Rng
    }

    fn work(&self) -> Option<Work> {
        self.work
    }
}

pub(super) struct Rig {
    pub(super) host: Arc<TestHost>,
    pub(super) memory: GuestRam,
    pub(super) pci: Arc<VirtioPci>,
    queues: Vec<Queue>,
}

#[derive(Clone, Copy, Default)]
struct Queue {
    next_descriptor: u16,
    available: u16,
    used: u16,
}

/// A piece of a chain: address and length.
#[derive(Clone, Copy)]
pub(super) enum Piece {
    Read(u64, u32),
    Write(u64, u32),
}

pub(super) fn ram() -> GuestRam {
    GuestRam::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap()
}

impl Rig {
    pub(super) fn new(device: Arc<dyn VirtioDevice>) -> Self {
        Self::with(device, ram(), None)
    }

    pub(super) fn with(device: Arc<dyn VirtioDevice>, memory: GuestRam, state: Option<&VirtioPciState>) -> Self {
        let host = Arc::new(TestHost::new());
        let queues = vec![Queue::default(); device.queue_sizes().len()];
        let pci = VirtioPci::new(device, memory.clone(), host.clone(), BAR, state).unwrap();
        Self { host, memory, pci, queues }
    }

    /// Saves the machine and restores it around `device`, still paused.
    pub(super) fn moved(self, device: impl FnOnce(&VirtioPciState) -> Arc<dyn VirtioDevice>) -> Self {
        self.pci.pause();
        let state = self.pci.save().unwrap();
        let text = serde_json::to_string(&state).unwrap();
        let state: VirtioPciState = serde_json::from_str(&text).unwrap();
        let mut new = Self::with(device(&state), self.memory.clone(), Some(&state));
        assert_eq!(new.pci.save().unwrap(), state);
        new.queues = self.queues.clone();
        new
    }

    pub(super) fn read<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut data = [0; N];
        self.host.mmio.read(BAR + offset, &mut data);
        data
    }

    pub(super) fn write(&self, offset: u64, data: &[u8]) {
        self.host.mmio.write(BAR + offset, data);
    }

    pub(super) fn status(&self) -> u8 {
        self.read::<1>(0x14)[0]
    }

    pub(super) fn set_status(&self, status: u8) {
        self.write(0x14, &[status]);
    }

    pub(super) fn offered(&self) -> u64 {
        let half = |select: u32| {
            self.write(0, &select.to_le_bytes());
            u64::from(u32::from_le_bytes(self.read(4)))
        };
        half(0) | half(1) << 32
    }

    pub(super) fn accept(&self, features: u64) {
        for select in 0..2_u32 {
            self.write(8, &select.to_le_bytes());
            self.write(12, &((features >> (32 * select)) as u32).to_le_bytes());
        }
    }

    pub(super) fn config<const N: usize>(&self, offset: u64) -> [u8; N] {
        self.read(0x2000 + offset)
    }

    /// Starts the device like a driver: accepts `features`, enables all queues, and gives each a vector.
    pub(super) fn start(&mut self, features: u64) {
        self.set_status(0);
        self.set_status(1);
        self.set_status(3);
        self.accept(features | VERSION_1);
        self.set_status(11);
        assert_eq!(self.status(), 11, "features refused");
        self.pci.config_write(MSIX_CONTROL, &0x8000_u16.to_le_bytes());
        for index in 0..=self.queues.len() as u16 {
            let entry = 0x4000 + 16 * u64::from(index);
            self.write(entry, &0xfee0_0000_u64.to_le_bytes());
            self.write(entry + 8, &(FIRST_MESSAGE + u32::from(index)).to_le_bytes());
            self.write(entry + 12, &[0; 4]);
        }
        self.write(0x10, &(self.queues.len() as u16).to_le_bytes());
        for index in 0..self.queues.len() {
            self.queues[index] = Queue::default();
            self.memory.write_slice(&[0; 0x3000], GuestAddress(base(index))).unwrap();
            self.enable(index, base(index));
        }
        self.set_status(15);
    }

    /// Enables a queue with its rings in the three pages from `base`.
    pub(super) fn enable(&self, index: usize, base: u64) {
        self.write(0x16, &(index as u16).to_le_bytes());
        self.write(0x18, &SIZE.to_le_bytes());
        self.write(0x1a, &(index as u16).to_le_bytes());
        for (register, address) in [(0x20, base), (0x28, base + 0x1000), (0x30, base + 0x2000)] {
            self.write(register, &(address as u32).to_le_bytes());
            self.write(register + 4, &((address >> 32) as u32).to_le_bytes());
        }
        self.write(0x1c, &1_u16.to_le_bytes());
    }

    pub(super) fn descriptor(&self, queue: usize, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        self.write_descriptor(base(queue) + 16 * u64::from(index), address, length, flags, next);
    }

    pub(super) fn write_descriptor(&self, at: u64, address: u64, length: u32, flags: u16, next: u16) {
        self.memory.write_obj(address, GuestAddress(at)).unwrap();
        self.memory.write_obj(length, GuestAddress(at + 8)).unwrap();
        self.memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
        self.memory.write_obj(next, GuestAddress(at + 14)).unwrap();
    }

    /// Makes `head` available, without a notification.
    pub(super) fn offer(&mut self, queue: usize, head: u16) {
        let place = self.queues[queue].available;
        let ring = base(queue) + 0x1000;
        self.memory.write_obj(head, GuestAddress(ring + 4 + 2 * u64::from(place % SIZE))).unwrap();
        self.queues[queue].available = place.wrapping_add(1);
        self.set_available(queue, place.wrapping_add(1));
    }

    pub(super) fn set_available(&self, queue: usize, index: u16) {
        self.memory.store(index, GuestAddress(base(queue) + 0x1002), std::sync::atomic::Ordering::SeqCst).unwrap();
    }

    /// Posts a chain without a notification, and returns its head.
    pub(super) fn post(&mut self, queue: usize, pieces: &[Piece]) -> u16 {
        let first = self.queues[queue].next_descriptor;
        for (i, piece) in pieces.iter().enumerate() {
            let index = first.wrapping_add(i as u16) % SIZE;
            let next = (index + 1) % SIZE;
            let more = if i + 1 < pieces.len() { NEXT } else { 0 };
            match *piece {
                Piece::Read(address, length) => self.descriptor(queue, index, address, length, more, next),
                Piece::Write(address, length) => self.descriptor(queue, index, address, length, more | WRITE, next),
            }
        }
        self.queues[queue].next_descriptor = first.wrapping_add(pieces.len() as u16) % SIZE;
        self.offer(queue, first % SIZE);
        first % SIZE
    }

    /// How often a vector was sent since the last call.
    pub(super) fn interrupts(&self, vector: usize) -> usize {
        self.host.taken(FIRST_MESSAGE + vector as u32).len()
    }

    pub(super) fn kick(&self, queue: usize) {
        let address = 0x3000 + 4 * queue as u64;
        if !self.host.ring(BAR + address) {
            self.write(address, &(queue as u16).to_le_bytes());
        }
    }

    /// Posts a chain, notifies, waits, and returns how much was written.
    pub(super) fn request(&mut self, queue: usize, pieces: &[Piece]) -> u32 {
        let head = self.post(queue, pieces);
        self.kick(queue);
        let (used, length) = self.used(queue);
        assert_eq!(used, u32::from(head));
        length
    }

    /// Waits for the next used chain and returns it.
    pub(super) fn used(&mut self, queue: usize) -> (u32, u32) {
        let place = self.queues[queue].used;
        wait("a used buffer", || self.used_index(queue) != place);
        self.queues[queue].used = place.wrapping_add(1);
        let at = base(queue) + 0x2004 + 8 * u64::from(place % SIZE);
        (self.memory.read_obj(GuestAddress(at)).unwrap(), self.memory.read_obj(GuestAddress(at + 4)).unwrap())
    }

    pub(super) fn used_index(&self, queue: usize) -> u16 {
        self.memory.load(GuestAddress(base(queue) + 0x2002), std::sync::atomic::Ordering::SeqCst).unwrap()
    }

    pub(super) fn fill(&self, address: u64, data: &[u8]) {
        self.memory.write_slice(data, GuestAddress(address)).unwrap();
    }

    pub(super) fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read_slice(&mut data, GuestAddress(address)).unwrap();
        data
    }

    /// Waits for `DEVICE_NEEDS_RESET`.
    pub(super) fn wait_needs_reset(&self) {
        wait("DEVICE_NEEDS_RESET", || self.status() & 0x40 != 0);
    }
}

/// The first of the three pages of a queue's rings.
pub(super) fn base(queue: usize) -> u64 {
    0x1_0000 * (queue as u64 + 1)
}

pub(super) fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}
