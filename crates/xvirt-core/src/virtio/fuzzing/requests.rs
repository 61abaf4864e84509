//! Derives from the rings alone what a device may do: which chains it may return, and where it may write.

use std::ops::Range;

use vm_memory::{Bytes, GuestAddress};

use crate::memory::GuestRam;

const DESCRIPTOR: u64 = 16;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A limit above the number of descriptors that a device accepts in a chain.
const MAX_LENGTH: usize = 1100;

/// The addresses of a queue's rings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rings {
    pub(super) size: u16,
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
}

impl Rings {
    fn structures(&self) -> [Range<u64>; 3] {
        let size = u64::from(self.size);
        let range = |start: u64, length: u64| start..start.saturating_add(length);
        [range(self.descriptors, DESCRIPTOR * size), range(self.available, 6 + 2 * size), self.used_ring()]
    }

    fn used_ring(&self) -> Range<u64> {
        self.used..self.used.saturating_add(6 + 8 * u64::from(self.size))
    }
}

/// A chain that the device owns.
#[derive(Debug)]
struct Offered {
    head: u16,
    /// The number of bytes in it that the device may write.
    room: u64,
}

/// Tracks the chains of one queue.
#[derive(Debug, Default)]
pub(super) struct RequestTracker {
    rings: Rings,
    /// The positions up to which the available and the used ring were read.
    available: u16,
    used: u16,
    offered: Vec<Offered>,
    /// Ranges that the chains let the device write.
    writable: Vec<Range<u64>>,
    /// Ranges of indirect tables.
    tables: Vec<Range<u64>>,
    /// Set if the driver violated the ring protocol or made the device overwrite rings; then nothing more can be
    /// checked.
    pub(super) lost: bool,
}

impl RequestTracker {
    pub(super) fn new(rings: Rings) -> Self {
        Self { rings, ..Self::default() }
    }

    /// Records the chains that the driver made available, before the device sees them.
    pub(super) fn take_in(&mut self, memory: &GuestRam) {
        let word = |at: u64| memory.read_obj::<u16>(GuestAddress(at)).unwrap_or_default();
        let end = word(self.rings.available + 2);
        if end.wrapping_sub(self.available) > self.rings.size {
            self.lost = true;
            return;
        }
        while self.available != end {
            let place = self.available % self.rings.size;
            self.offered.push(Offered { head: word(self.rings.available + 4 + 2 * u64::from(place)), room: 0 });
            self.available = self.available.wrapping_add(1);
        }
        // The driver may change descriptors as long as their chain is unused.
        for index in 0..self.offered.len() {
            let room = self.walk(memory, self.offered[index].head);
            self.offered[index].room = self.offered[index].room.max(room);
        }
    }

    /// Follows a chain and returns the number of bytes in it that may be written.
    fn walk(&mut self, memory: &GuestRam, head: u16) -> u64 {
        let (mut table, mut entries) = (self.rings.descriptors, u64::from(self.rings.size));
        let (mut index, mut room) = (u64::from(head), 0_u64);
        for _ in 0..MAX_LENGTH {
            let at = table.saturating_add(index * DESCRIPTOR);
            let Ok(bytes) = memory.read_obj::<[u8; 16]>(GuestAddress(at)) else { break };
            if index >= entries {
                break;
            }
            let bytes = u128::from_le_bytes(bytes);
            let (address, length) = (bytes as u64, u64::from((bytes >> 64) as u32));
            let (flags, next) = ((bytes >> 96) as u16, (bytes >> 112) as u16);
            let range = address..address.saturating_add(length);
            if flags & INDIRECT != 0 {
                self.tables.push(range);
                (table, entries, index) = (address, length / DESCRIPTOR, 0);
                continue;
            }
            if flags & WRITE != 0 {
                room += length;
                self.note(range);
            }
            if flags & NEXT == 0 {
                break;
            }
            index = next.into();
        }
        room
    }

    fn note(&mut self, range: Range<u64>) {
        if !range.is_empty() && !self.writable.contains(&range) {
            self.writable.push(range);
        }
    }

    /// Whether a legitimate write of the device may change rings or tables.
    pub(super) fn is_tangled(&self, others: &[Rings]) -> bool {
        let structures: Vec<_> = others.iter().flat_map(Rings::structures).chain(self.tables.iter().cloned()).collect();
        let overlap = |a: &Range<u64>, b: &Range<u64>| a.start < b.end && b.start < a.end;
        self.writable.iter().any(|range| structures.iter().any(|structure| overlap(range, structure)))
    }

    /// Whether the device may have written the byte at `address`.
    pub(super) fn may_write(&self, address: u64) -> bool {
        self.rings.used_ring().contains(&address) || self.writable.iter().any(|range| range.contains(&address))
    }

    /// Checks the chains that the device returned.
    pub(super) fn check(&mut self, memory: &GuestRam) {
        let end = memory.read_obj::<u16>(GuestAddress(self.rings.used + 2)).unwrap_or_default();
        let count = end.wrapping_sub(self.used);
        assert!(usize::from(count) <= self.offered.len(), "{count} chains used of {}", self.offered.len());
        while self.used != end {
            let at = self.rings.used + 4 + 8 * u64::from(self.used % self.rings.size);
            let [head, written] = [at, at + 4].map(|at| memory.read_obj::<u32>(GuestAddress(at)).unwrap_or_default());
            let place = self.offered.iter().position(|offered| u32::from(offered.head) == head);
            let place = place.unwrap_or_else(|| panic!("chain {head} was used and is not the device's"));
            let Offered { room, .. } = self.offered.remove(place);
            assert!(u64::from(written) <= room, "{written} bytes written of {room}");
            self.used = self.used.wrapping_add(1);
        }
    }
}
