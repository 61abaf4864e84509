//! A virtqueue as a device uses it: the split ring (virtio 1.2, section 2.7), with interrupt suppression and fairness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm_memory::{Bytes, GuestAddress};

use super::interrupt::Interrupt;
use super::{Chain, Malformed, ServeError, Served};
use crate::memory::GuestRam;

/// The offsets of the elements in the available and the used ring, and their sizes in bytes (section 2.7).
const AVAILABLE_RING: u64 = 4;
const AVAILABLE_ELEMENT: u64 = 2;
const USED_RING: u64 = 4;
const USED_ELEMENT: u64 = 8;
/// The longest delay of a completion's interrupt while the queue serves other requests.
const MAX_DELAY: Duration = Duration::from_micros(50);

/// The queues of a device, by index. Queues that the driver did not enable are `None`.
#[derive(Debug)]
pub(crate) struct Queues(pub(super) Vec<Option<VirtQueue>>);

impl Queues {
    /// Queue `index`, if it is enabled.
    pub(crate) fn get(&mut self, index: usize) -> Option<&mut VirtQueue> {
        self.0.get_mut(index)?.as_mut()
    }

    /// Queue `first`, if it is enabled, and another one, if that is.
    pub(crate) fn get_two(&mut self, first: usize, second: usize) -> Option<(&mut VirtQueue, Option<&mut VirtQueue>)> {
        let [first, second] = self.0.get_disjoint_mut([first, second]).ok()?;
        Some((first.as_mut()?, second.as_mut()))
    }

    /// Calls [`VirtQueue::signal`] for every queue.
    pub(crate) fn signal(&mut self) -> Served {
        self.0.iter_mut().flatten().try_for_each(VirtQueue::signal)
    }
}

/// An enabled virtqueue.
#[derive(Debug)]
pub(crate) struct VirtQueue {
    queue: Queue,
    index: usize,
    memory: GuestRam,
    interrupt: Arc<Interrupt>,
    /// The available index up to which the worker knows of buffers, once it has looked.
    seen: Option<u16>,
    /// The worker is to serve the queue again.
    renotified: bool,
    /// Set while the worker should leave the queue.
    stop_serving: Arc<AtomicBool>,
    /// The used index up to which the driver was notified.
    told: u16,
}

/// A device's position in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) next_avail: u16,
    pub(super) next_used: u16,
}

impl VirtQueue {
    /// Opens the queue that the driver described; `None` if it is not aligned, or not all in guest memory.
    pub(super) fn new(
        state: QueueState,
        index: usize,
        memory: GuestRam,
        interrupt: Arc<Interrupt>,
        stop_serving: Arc<AtomicBool>,
    ) -> Option<Self> {
        let queue = Queue::try_from(state).ok().filter(|queue| queue.is_valid(&memory))?;
        let told = queue.next_used();
        Some(Self { queue, index, memory, interrupt, seen: None, renotified: false, stop_serving, told })
    }

    /// The guest's memory.
    pub(crate) fn memory(&self) -> &GuestRam {
        &self.memory
    }

    /// The number of descriptors.
    pub(crate) fn size(&self) -> u16 {
        self.queue.size()
    }

    /// The number of chains that were popped but not pushed.
    pub(crate) fn in_flight(&self) -> u16 {
        self.queue.next_avail().wrapping_sub(self.queue.next_used())
    }

    /// Makes the worker return to this queue after it has served the others.
    pub(crate) fn renotify(&mut self) {
        self.renotified = true;
    }

    /// Whether the worker is to return to this queue.
    pub(super) fn is_renotified(&self) -> bool {
        self.renotified
    }

    /// Whether the driver has made buffers available since the last call, or the worker is to return to this queue.
    pub(super) fn take_notification(&mut self) -> bool {
        let renotified = std::mem::take(&mut self.renotified);
        // A ring that cannot be read is an error that the handler meets.
        let available = self.queue.avail_idx(&self.memory, Ordering::Acquire).ok().map(|index| index.0);
        available.is_none() || std::mem::replace(&mut self.seen, available) != available || renotified
    }

    /// Whether the worker is wanted elsewhere: nothing is popped until it comes back.
    pub(crate) fn stops_serving(&self) -> bool {
        self.stop_serving.load(Ordering::Relaxed)
    }

    pub(super) fn position(&self) -> Position {
        Position { next_avail: self.queue.next_avail(), next_used: self.queue.next_used() }
    }

    /// Pops the next available chain; `false` if there is none, or if the worker should leave the queue.
    pub(crate) fn pop(&mut self, chain: &mut Chain) -> Served<bool> {
        if self.stops_serving() {
            return Ok(false);
        }
        let mut available = self.queue.iter(&self.memory).map_err(|_| BAD_RING)?;
        let Some(descriptors) = available.next() else { return Ok(false) };
        chain.load(descriptors, &self.memory)?;
        Ok(true)
    }

    /// Returns the last `count` popped chains, which were not pushed, to the queue.
    pub(crate) fn unpop(&mut self, count: u16) {
        self.queue.set_next_avail(self.queue.next_avail().wrapping_sub(count));
    }

    /// Returns a chain to the driver, with `written` bytes written to it.
    pub(crate) fn push(&mut self, head: u16, written: u32) -> Served {
        self.push_all(&[(head, written)])
    }

    /// Returns chains to the driver, each with the number of bytes written. The driver sees all of them or none,
    /// because a network driver drops a frame of which it sees only a part (virtio 1.2, section 5.1.6.4).
    pub(crate) fn push_all(&mut self, chains: &[(u16, u32)]) -> Served {
        let (ring, size) = (self.queue.used_ring(), self.queue.size());
        let mut next = self.queue.next_used();
        for (head, written) in chains {
            // struct virtq_used_elem (section 2.7.8).
            let element = u64::from(*head) | u64::from(*written) << 32;
            let at = ring + USED_RING + USED_ELEMENT * u64::from(next % size);
            self.memory.write_obj(element.to_le(), GuestAddress(at)).map_err(|_| BAD_RING)?;
            next = next.wrapping_add(1);
        }
        self.queue.set_next_used(next);
        self.memory.store(next.to_le(), GuestAddress(ring + 2), Ordering::Release).map_err(|_| BAD_RING)
    }

    /// Interrupts the driver for the chains used since the last time, if it wants that.
    pub(crate) fn signal(&mut self) -> Served {
        let used = self.queue.next_used();
        let since = used.wrapping_sub(std::mem::replace(&mut self.told, used));
        if since == 0 {
            return Ok(());
        }
        // The used index must be visible before the driver's event index is read (section 2.7.10).
        fence(Ordering::SeqCst);
        let available = self.queue.avail_ring();
        let wish = |at: u64| {
            let wish: std::result::Result<u16, _> = self.memory.load(GuestAddress(at), Ordering::Relaxed);
            wish.map(u16::from_le).map_err(|_| BAD_RING)
        };
        let wanted = if self.queue.event_idx_enabled() {
            // The driver wants an interrupt when the used index passes `place`.
            let place = wish(available + AVAILABLE_RING + AVAILABLE_ELEMENT * u64::from(self.queue.size()))?;
            used.wrapping_sub(place).wrapping_sub(1) < since
        } else {
            u32::from(wish(available)?) & VRING_AVAIL_F_NO_INTERRUPT == 0
        };
        if wanted {
            self.interrupt.queue_used(self.index);
        }
        Ok(())
    }

    /// Suppresses notifications of new buffers.
    pub(crate) fn disable_notification(&mut self) -> Served {
        self.queue.disable_notification(&self.memory).map_err(|_| BAD_RING)
    }

    /// Enables notifications of new buffers; `true` if there are some already, and the worker may take them.
    pub(crate) fn enable_notification(&mut self) -> Served<bool> {
        let more = self.queue.enable_notification(&self.memory).map_err(|_| BAD_RING)?;
        Ok(more && !self.stops_serving())
    }

    /// Serves all chains with `serve`, which returns the number of bytes written. One interrupt announces all
    /// completions within [`MAX_DELAY`]. After as many chains as the queue has descriptors, other queues get their
    /// turn.
    pub(crate) fn drain(&mut self, chain: &mut Chain, mut serve: impl FnMut(&mut Chain) -> Served<u32>) -> Served {
        self.drain_while(chain, |chain| serve(chain).map(Some))
    }

    /// Like [`drain`](Self::drain), but stops at a chain for which `serve` returns `None`. That chain stays in the
    /// queue with notifications suppressed, so the caller must come back to it.
    pub(crate) fn drain_while(
        &mut self,
        chain: &mut Chain,
        mut serve: impl FnMut(&mut Chain) -> Served<Option<u32>>,
    ) -> Served {
        let mut turn = self.size();
        let mut told = Instant::now();
        loop {
            self.disable_notification()?;
            while turn > 0 && self.pop(chain)? {
                turn -= 1;
                let Some(written) = serve(chain)? else {
                    self.unpop(1);
                    return self.signal();
                };
                self.push(chain.head(), written)?;
                if told.elapsed() >= MAX_DELAY {
                    self.signal()?;
                    told = Instant::now();
                }
            }
            self.signal()?;
            if turn == 0 {
                self.renotify();
                return Ok(());
            }
            if !self.enable_notification()? {
                return Ok(());
            }
        }
    }
}

const BAD_RING: ServeError = Malformed("a ring is invalid");

#[cfg(test)]
mod tests;
