//! The ring arithmetic at every 16-bit position.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use virtio_queue::QueueState;
use vm_memory::{Bytes, GuestAddress};

use super::VirtQueue;
use crate::memory::GuestRam;
use crate::pci::testing::TestHost;
use crate::virtio::interrupt::Interrupt;
use crate::virtio::{Chain, Served};

const AVAILABLE: u64 = 0x400;
const USED: u64 = 0x800;

struct Ring {
    memory: GuestRam,
    queue: VirtQueue,
    size: u16,
}

impl Ring {
    /// A ring whose chains have one descriptor each.
    fn new(size: u16) -> Self {
        let memory = GuestRam::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
        for index in 0..u64::from(size) {
            memory.write_obj(0xc00_u64, GuestAddress(16 * index)).unwrap();
            memory.write_obj(8_u32, GuestAddress(16 * index + 8)).unwrap();
        }
        for place in 0..size {
            memory.write_obj(place, GuestAddress(AVAILABLE + 4 + 2 * u64::from(place))).unwrap();
        }
        let state = QueueState {
            max_size: size,
            next_avail: 0,
            next_used: 0,
            event_idx_enabled: false,
            size,
            ready: true,
            desc_table: 0,
            avail_ring: AVAILABLE,
            used_ring: USED,
        };
        let interrupt = Arc::new(Interrupt::new(Arc::new(TestHost::new()), 1, None).unwrap());
        let stop_serving = Arc::new(AtomicBool::new(false));
        let queue = VirtQueue::new(state, 0, memory.clone(), interrupt, stop_serving).unwrap();
        Self { memory, queue, size }
    }

    fn offer_up_to(&self, index: u16) {
        self.memory.write_obj(index, GuestAddress(AVAILABLE + 2)).unwrap();
    }

    /// Pops chains until there are none; returns the head of the first, and their number.
    fn drain(&mut self, chain: &mut Chain) -> Served<(Option<u16>, u16)> {
        let (mut first, mut count) = (None, 0);
        while self.queue.pop(chain)? {
            first.get_or_insert(chain.head());
            count += 1;
        }
        Ok((first, count))
    }
}

/// From every position: all available chains are popped in order and returned, more chains than descriptors are an
/// error, and used chains land in their ring entries.
fn check(size: u16) {
    let (mut ring, mut chain) = (Ring::new(size), Chain::default());
    for start in 0..=u16::MAX {
        for count in 0..=size {
            ring.offer_up_to(start.wrapping_add(count));
            let first = (count > 0).then_some(start % size);
            assert_eq!(ring.drain(&mut chain).unwrap(), (first, count), "from {start}");
            ring.queue.unpop(count);
            assert_eq!(ring.queue.position().next_avail, start);
        }
        for beyond in [size + 1, 0x8000, u16::MAX] {
            ring.offer_up_to(start.wrapping_add(beyond));
            assert!(ring.queue.pop(&mut chain).is_err(), "{beyond} chains from {start}");
        }
        ring.offer_up_to(start.wrapping_add(1));
        assert!(ring.queue.pop(&mut chain).unwrap());
        ring.queue.push(chain.head(), start.into()).unwrap();
        let used: u16 = ring.memory.read_obj(GuestAddress(USED + 2)).unwrap();
        assert_eq!(used, start.wrapping_add(1));
        let place = USED + 4 + 8 * u64::from(start % ring.size);
        let element: [u32; 2] = [place, place + 4].map(|at| ring.memory.read_obj(GuestAddress(at)).unwrap());
        assert_eq!(element, [u32::from(start % size), u32::from(start)]);
    }
    assert_eq!(ring.queue.position().next_used, 0, "it went round");
}

#[test]
fn a_ring_of_one_is_right_at_every_position() {
    check(1);
}

#[test]
fn a_ring_of_two_is_right_at_every_position() {
    check(2);
}

#[test]
fn a_ring_of_eight_is_right_at_every_position() {
    check(8);
}

#[test]
fn a_queue_has_work_once_for_new_buffers_and_once_when_asked_for() {
    let mut ring = Ring::new(4);
    ring.offer_up_to(0);
    assert!(ring.queue.take_notification(), "the worker has not looked yet");
    assert!(!ring.queue.take_notification());
    ring.offer_up_to(3);
    assert_eq!([ring.queue.take_notification(), ring.queue.take_notification()], [true, false]);
    ring.queue.renotify();
    assert!(ring.queue.is_renotified());
    assert_eq!([ring.queue.take_notification(), ring.queue.take_notification()], [true, false]);
    assert!(!ring.queue.is_renotified());
}
