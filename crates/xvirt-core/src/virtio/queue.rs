//! One virtqueue as its device uses it: the split ring (virtio 1.2, section 2.7) plus interrupts and fairness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

use super::interrupt::Interrupt;
use super::{Chain, Malformed, Served};
use crate::memory::GuestRam;

/// How long a driver waits to hear of a request that is done while others are being served.
const MAX_DELAY: Duration = Duration::from_micros(50);

/// The queues of a device, by index; those that the driver did not enable are `None`.
#[derive(Debug)]
pub(crate) struct Queues(pub(super) Vec<Option<VirtQueue>>);

impl Queues {
    /// Queue `index`, if it is enabled.
    pub(crate) fn get(&mut self, index: usize) -> Option<&mut VirtQueue> {
        self.0.get_mut(index)?.as_mut()
    }

    /// As [`VirtQueue::signal`], for every queue.
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
    /// The driver's notifications.
    pub(super) kick: EventFd,
    /// Set while the worker is wanted elsewhere.
    interrupted: Arc<AtomicBool>,
    /// Buffers were used since the driver was last told.
    used: bool,
}

/// Where a device is in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) next_avail: u16,
    pub(super) next_used: u16,
}

impl VirtQueue {
    /// Takes over the queue that the driver described; `None` if it is not all in guest memory, or not aligned.
    pub(super) fn new(
        state: QueueState,
        index: usize,
        memory: GuestRam,
        interrupt: Arc<Interrupt>,
        kick: EventFd,
        interrupted: Arc<AtomicBool>,
    ) -> Option<Self> {
        let queue = Queue::try_from(state).ok().filter(|queue| queue.is_valid(&memory))?;
        Some(Self { queue, index, memory, interrupt, kick, interrupted, used: false })
    }

    /// The guest's memory.
    pub(crate) fn memory(&self) -> &GuestRam {
        &self.memory
    }

    /// The number of descriptors.
    pub(crate) fn size(&self) -> u16 {
        self.queue.size()
    }

    /// The number of chains that were popped and not pushed.
    pub(crate) fn in_flight(&self) -> u16 {
        self.queue.next_avail().wrapping_sub(self.queue.next_used())
    }

    /// Lets the worker come back to this queue by way of the others.
    pub(crate) fn come_back(&self) {
        // Only fails when the counter is full, which will do.
        let _ = self.kick.write(1);
    }

    pub(super) fn position(&self) -> Position {
        Position { next_avail: self.queue.next_avail(), next_used: self.queue.next_used() }
    }

    /// Takes the next available chain; `false` when there is none, or the worker is wanted elsewhere.
    pub(crate) fn pop(&mut self, chain: &mut Chain) -> Served<bool> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut available = self.queue.iter(&self.memory).map_err(|_| BAD_RING)?;
        let Some(descriptors) = available.next() else { return Ok(false) };
        chain.load(descriptors)?;
        Ok(true)
    }

    /// Puts the last `count` chains back that were popped and not pushed.
    pub(crate) fn unpop(&mut self, count: u16) {
        self.queue.set_next_avail(self.queue.next_avail().wrapping_sub(count));
    }

    /// Gives a chain back, with `written` bytes written to it.
    pub(crate) fn push(&mut self, head: u16, written: u32) -> Served {
        self.used = true;
        self.queue.add_used(&self.memory, head, written).map_err(|_| BAD_RING)
    }

    /// Tells the driver what was used since the last time, if it wants to know.
    pub(crate) fn signal(&mut self) -> Served {
        if !std::mem::take(&mut self.used) {
            return Ok(());
        }
        let wanted = if self.queue.event_idx_enabled() {
            self.queue.needs_notification(&self.memory).map_err(|_| BAD_RING)?
        } else {
            // The used index must be visible before the driver's wish is read (section 2.7.10).
            fence(Ordering::SeqCst);
            let flags: u16 =
                self.memory.load(GuestAddress(self.queue.avail_ring()), Ordering::Relaxed).map_err(|_| BAD_RING)?;
            u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0
        };
        if wanted {
            self.interrupt.queue_used(self.index);
        }
        Ok(())
    }

    /// Asks not to be notified of new buffers.
    pub(crate) fn disable_notification(&mut self) -> Served {
        self.queue.disable_notification(&self.memory).map_err(|_| BAD_RING)
    }

    /// Asks to be notified of new buffers; `true` when there are some already, and the worker may take them.
    pub(crate) fn enable_notification(&mut self) -> Served<bool> {
        let more = self.queue.enable_notification(&self.memory).map_err(|_| BAD_RING)?;
        Ok(more && !self.interrupted.load(Ordering::Relaxed))
    }

    /// Serves all chains with `serve`, which returns how many bytes it wrote. One interrupt tells of all that were done
    /// within [`MAX_DELAY`]; after as many chains as the queue has descriptors the other queues get their turn.
    pub(crate) fn drain(&mut self, chain: &mut Chain, mut serve: impl FnMut(&mut Chain) -> Served<u32>) -> Served {
        self.drain_while(chain, |chain| serve(chain).map(Some))
    }

    /// As [`drain`](Self::drain), up to a chain that `serve` says `None` to: it stays in the queue, and whoever left it
    /// there has to come back. The driver is not asked to tell of more until then.
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
                self.come_back();
                return Ok(());
            }
            if !self.enable_notification()? {
                return Ok(());
            }
        }
    }
}

const BAD_RING: Malformed = Malformed("a ring is not valid");
