//! A driver with arbitrary behaviour.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use virtio_queue::QueueState;
use vm_memory::{Bytes, GuestAddress};

use super::devices::{self, Endpoint, Kind};
use super::requests::{RequestTracker, Rings};
use crate::memory::GuestRam;
use crate::pci::testing::TestHost;
use crate::virtio::interrupt::Interrupt;
use crate::virtio::queue::Position;
use crate::virtio::{Handler, Queues, Served, VirtQueue, VirtioDevice};

/// Guest memory, with a hole.
const MEMORY: [(u64, usize); 2] = [(0, 0x1_0000), (0x1_4000, 0x4000)];
/// The address of the rings; each queue has a page of its own.
const RINGS: u64 = 0x1000;
/// The address of data.
const DATA: u64 = 0x8000;
const DATA_END: u64 = 0x1_0000;
/// The number of descriptors of a queue.
const SIZE: u16 = 16;
/// How often the driver serves queues that were kicked by the device itself, as its worker would.
const TURNS: usize = 16;

const EVENT_IDX: u32 = 29;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A piece of a chain: address, length, and whether the device writes it.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub address: u64,
    pub length: u32,
    pub write: bool,
}

/// Arbitrary addresses for the rings of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub size: u16,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
}

/// A device and its driver.
pub struct Driver {
    kind: Kind,
    endpoint: Arc<Endpoint>,
    device: Arc<dyn VirtioDevice>,
    memory: GuestRam,
    /// The expected memory contents, apart from what the device has written since the last check.
    shadow: Vec<Vec<u8>>,
    interrupt: Arc<Interrupt>,
    stop_serving: Arc<AtomicBool>,
    rings: Vec<Rings>,
    trackers: Vec<RequestTracker>,
    features: u64,
    /// The active device, until the driver violates the protocol.
    live: Option<(Box<dyn Handler>, Queues)>,
    next_descriptor: u16,
    next_data: u64,
}

impl Driver {
    /// Builds a device that no driver has started.
    pub fn new(kind: Kind) -> Self {
        let endpoint = Endpoint::new();
        let device = devices::device(kind, &endpoint, None);
        let ranges = MEMORY.map(|(start, length)| (GuestAddress(start), length));
        let memory = GuestRam::from_ranges(&ranges).expect("there is memory");
        let queues = device.queue_sizes().len();
        let interrupt = Interrupt::new(Arc::new(TestHost::new()), queues, None).expect("the host can do anything");
        Self {
            kind,
            endpoint,
            device,
            memory,
            shadow: MEMORY.map(|(_, length)| vec![0; length]).into(),
            interrupt: Arc::new(interrupt),
            stop_serving: Arc::default(),
            rings: Vec::new(),
            trackers: Vec::new(),
            features: 0,
            live: None,
            next_descriptor: 0,
            next_data: DATA,
        }
    }

    /// The number of queues of the device.
    pub fn queues(&self) -> usize {
        self.device.queue_sizes().len()
    }

    /// Resets the device and starts it with the offered bits of `features`. Each queue has its usual addresses, unless
    /// `places` gives others.
    pub fn start(&mut self, features: u64, places: &[Option<Place>]) {
        self.stop();
        self.features = features & (self.device.features() | 1 << EVENT_IDX);
        let queues = self.queues();
        self.rings = (0..queues)
            .map(|queue| match places.get(queue).copied().flatten() {
                Some(Place { size, descriptors, available, used }) => Rings { size, descriptors, available, used },
                None => {
                    let page = RINGS * (queue as u64 + 1);
                    Rings { size: SIZE, descriptors: page, available: page + 0x400, used: page + 0x800 }
                }
            })
            .collect();
        for Rings { available, used, .. } in self.rings.clone() {
            self.fill(available, &[0; 4]);
            self.fill(used, &[0; 4]);
        }
        self.next_descriptor = 0;
        self.trackers = self.rings.iter().copied().map(RequestTracker::new).collect();
        self.activate(&vec![Position { next_avail: 0, next_used: 0 }; queues]);
    }

    fn activate(&mut self, positions: &[Position]) {
        let queues: Option<Vec<_>> =
            self.rings.iter().zip(positions).enumerate().map(|(i, (r, p))| self.queue(i, r, *p)).collect();
        let Some(queues) = queues else { return };
        self.live = self.device.activate(self.features).ok().map(|handler| (handler, Queues(queues)));
    }

    fn queue(&self, index: usize, rings: &Rings, position: Position) -> Option<Option<VirtQueue>> {
        let state = QueueState {
            max_size: self.device.queue_sizes()[index],
            next_avail: position.next_avail,
            next_used: position.next_used,
            event_idx_enabled: self.features >> EVENT_IDX & 1 != 0,
            size: rings.size,
            ready: true,
            desc_table: rings.descriptors,
            avail_ring: rings.available,
            used_ring: rings.used,
        };
        let (memory, interrupt) = (self.memory.clone(), self.interrupt.clone());
        VirtQueue::new(state, index, memory, interrupt, self.stop_serving.clone()).map(Some)
    }

    fn stop(&mut self) {
        self.serve(|handler, queues| handler.settle(queues));
        if let Some((handler, _)) = self.live.take() {
            handler.end();
        }
        self.interrupt.reset_device();
    }

    /// Writes into guest memory, as far as the range exists.
    pub fn fill(&mut self, address: u64, bytes: &[u8]) {
        for ((start, length), shadow) in MEMORY.iter().zip(&mut self.shadow) {
            let first = start.saturating_sub(address);
            let Some(bytes) = usize::try_from(first).ok().and_then(|first| bytes.get(first..)) else { continue };
            let at = address.saturating_sub(*start);
            let room = usize::try_from((*length as u64).saturating_sub(at)).unwrap_or(0);
            let bytes = &bytes[..bytes.len().min(room)];
            if !bytes.is_empty() {
                shadow[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
                self.memory.write_slice(bytes, GuestAddress(start + at)).expect("it is in memory");
            }
        }
    }

    /// Writes bytes to some address and returns that address.
    pub fn place(&mut self, bytes: &[u8]) -> u64 {
        if self.next_data + bytes.len() as u64 > DATA_END {
            self.next_data = DATA;
        }
        let at = self.next_data;
        self.next_data = (at + bytes.len() as u64).min(DATA_END);
        self.fill(at, bytes);
        at
    }

    /// Writes one descriptor.
    pub fn descriptor(&mut self, queue: usize, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let Some(rings) = self.rings.get(queue) else { return };
        let at = rings.descriptors.saturating_add(16 * u64::from(index));
        self.fill(at, &descriptor(address, length, flags, next));
    }

    /// Makes a chain available, through an indirect table if `indirect`.
    pub fn chain(&mut self, queue: usize, pieces: &[Piece], indirect: bool) {
        let Some(Rings { size, .. }) = self.rings.get(queue).copied().filter(|rings| rings.size > 0) else { return };
        let head = self.next_descriptor % size;
        let flags = |index: usize| if index + 1 < pieces.len() { NEXT } else { 0 };
        if indirect {
            let entry = |(index, piece): (usize, &Piece)| {
                let flags = flags(index) | if piece.write { WRITE } else { 0 };
                descriptor(piece.address, piece.length, flags, index as u16 + 1)
            };
            let table: Vec<u8> = pieces.iter().enumerate().flat_map(entry).collect();
            let at = self.place(&table);
            self.descriptor(queue, head, at, table.len() as u32, INDIRECT, 0);
            self.next_descriptor = head + 1;
        } else {
            for (index, piece) in pieces.iter().enumerate() {
                let here = (usize::from(head) + index) as u16 % size;
                let flags = flags(index) | if piece.write { WRITE } else { 0 };
                self.descriptor(queue, here, piece.address, piece.length, flags, (here + 1) % size);
            }
            self.next_descriptor = (usize::from(head) + pieces.len()) as u16 % size;
        }
        self.offer(queue, head);
    }

    /// Makes the chain at `head` available.
    pub fn offer(&mut self, queue: usize, head: u16) {
        let Some(Rings { size, available, .. }) = self.rings.get(queue).copied().filter(|r| r.size > 0) else { return };
        let place = self.memory.read_obj::<u16>(GuestAddress(available.saturating_add(2))).unwrap_or_default();
        self.fill(available.saturating_add(4 + 2 * u64::from(place % size)), &head.to_le_bytes());
        self.set_available(queue, place.wrapping_add(1));
    }

    /// Sets the available index.
    pub fn set_available(&mut self, queue: usize, index: u16) {
        let Some(available) = self.rings.get(queue).map(|rings| rings.available) else { return };
        self.fill(available.saturating_add(2), &index.to_le_bytes());
    }

    /// Notifies the device of a queue.
    pub fn kick(&mut self, queue: usize) {
        self.serve(|handler, queues| handler.queue(queue, queues));
        for _ in 0..TURNS {
            let live = self.live.as_mut().and_then(|(_, queues)| queues.get(queue));
            if live.is_none_or(|queue| !queue.is_renotified() || !queue.take_notification()) {
                break;
            }
            self.serve(|handler, queues| handler.queue(queue, queues));
        }
    }

    /// Gives the device input.
    pub fn input(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.endpoint.give(bytes);
        }
        if self.live.as_ref().is_some_and(|(handler, _)| handler.input().is_some()) {
            self.serve(|handler, queues| handler.receive(queues));
        }
    }

    /// Lets the device's deadline pass, if it has one.
    pub fn wait(&mut self) {
        if self.live.as_ref().is_some_and(|(handler, _)| handler.deadline().is_some()) {
            self.serve(|handler, queues| handler.due(queues));
        }
    }

    /// Reads the device's configuration.
    pub fn read_config(&self, offset: usize, length: usize) {
        self.device.read_config(offset, &mut vec![0xff; length]);
    }

    /// Pauses and resumes the device, or if `moved`, a device restored from its saved state.
    pub fn pause(&mut self, moved: bool) {
        self.stop_serving.store(true, Ordering::Relaxed);
        for queue in 0..self.queues() {
            self.serve(|handler, queues| handler.queue(queue, queues));
        }
        self.serve(|handler, queues| handler.settle(queues));
        self.stop_serving.store(false, Ordering::Relaxed);
        if moved && let Some((_, queues)) = self.live.take() {
            let positions: Vec<_> = queues.0.iter().flatten().map(VirtQueue::position).collect();
            self.device = devices::device(self.kind, &self.endpoint, Some(self.device.save()));
            self.activate(&positions);
            assert!(self.live.is_some(), "what was saved cannot be restored");
        }
        (0..self.queues()).for_each(|queue| self.kick(queue));
    }

    /// Runs the device and checks its writes.
    fn serve(&mut self, work: impl FnOnce(&mut dyn Handler, &mut Queues) -> Served) {
        let Some((handler, queues)) = &mut self.live else { return };
        self.trackers.iter_mut().for_each(|tracker| tracker.take_in(&self.memory));
        let known = !self.trackers.iter().any(|tracker| tracker.lost || tracker.is_tangled(&self.rings));
        // Completes requests in flight, so that all their writes are checked.
        let served = work(&mut **handler, queues);
        let served = served.and(handler.settle(queues));
        if served.is_err() {
            self.live = None;
        }
        for ((start, length), shadow) in MEMORY.iter().zip(&mut self.shadow) {
            let mut now = vec![0; *length];
            self.memory.read_slice(&mut now, GuestAddress(*start)).expect("it is in memory");
            if known && now != *shadow {
                let changed = (*start..).zip(now.iter().zip(&*shadow)).filter(|(_, (now, before))| now != before);
                let wrong = changed.map(|(at, _)| at).find(|at| !self.trackers.iter().any(|l| l.may_write(*at)));
                assert_eq!(wrong, None, "the device wrote where it must not");
            }
            *shadow = now;
        }
        if known {
            self.trackers.iter_mut().for_each(|tracker| tracker.check(&self.memory));
        } else {
            // The queue states are unknown from here on.
            self.trackers.iter_mut().for_each(|tracker| tracker.lost = true);
        }
    }
}

fn descriptor(address: u64, length: u32, flags: u16, next: u16) -> [u8; 16] {
    let bytes = u128::from(address) | u128::from(length) << 64 | u128::from(flags) << 96 | u128::from(next) << 112;
    bytes.to_le_bytes()
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("kind", &self.kind).finish_non_exhaustive()
    }
}
