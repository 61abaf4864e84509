//! Serves the queues of a disk, with many requests in flight that may complete in any order.
//!
//! The handler parses each popped chain (`request`) and submits it to the engine. On completion, it writes the status
//! and pushes the chain. One system call submits all chains popped together, and one interrupt announces all that
//! completed together. No more requests are in flight than a queue has descriptors. After [`settle`](Handler::settle)
//! none is in flight, so the queue positions are the complete state.
//!
//! A chain that the rate limit (`throttle`) holds back is [returned](crate::virtio::VirtQueue::unpop) to its queue
//! until the [deadline](Handler::deadline) given by the limit.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use virtio_bindings::virtio_blk::{VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK};
use vm_memory::{Bytes, GuestAddress};

use super::device::SERIAL;
use super::error::{IoError, IoErrorSink};
use super::request::{self, Asked, Limits, Refusal};
use super::statistics::{BlockCounters, InFlight};
use super::throttle::Throttle;
use crate::config::IoEngine;
use crate::disk::{BlockBackend, Engine, Failure, IoOperation, Request};
use crate::memory::GuestRam;
use crate::sync::lock;
use crate::virtio::{Chain, Handler, Malformed, Queues, Served, VirtQueue};

/// The most requests submitted together, so that the first one does not wait for the last of a full queue.
const BATCH: u16 = 32;

/// State that the device and the handlers of a disk share.
pub(super) struct Disk {
    pub(super) backend: Arc<dyn BlockBackend>,
    pub(super) sink: IoErrorSink,
    pub(super) sectors: AtomicU64,
    pub(super) read_only: bool,
    pub(super) serial: [u8; SERIAL],
    /// Whether the engine uses io_uring.
    pub(super) ring: AtomicBool,
    pub(super) counters: Arc<BlockCounters>,
    pub(super) throttle: Throttle,
    /// The engine, while no handler owns it.
    pub(super) engine: Mutex<Option<Engine>>,
}

pub(super) struct BlockHandler {
    disk: Arc<Disk>,
    engine: Engine,
    /// Writes need not be durable before a flush.
    write_back: bool,
    chain: Chain,
    /// Requests in flight, and free slots.
    slots: Vec<Slot>,
    free: Vec<usize>,
    #[expect(clippy::vec_box, reason = "the engine takes boxed requests")]
    spare: Vec<Box<Request>>,
    /// The guest's memory, once a queue has shown it.
    memory: Option<Arc<GuestRam>>,
    /// Queues whose chains were all in flight when last checked, one bit each.
    full: u64,
    /// Queues whose next chain the limit holds back, one bit each.
    held: u64,
    /// The time at which the limit admits the next chain.
    later: Option<Instant>,
    /// The queue to serve first at that time.
    first: usize,
}

/// A request in flight, and what to do on its completion.
struct Slot {
    begun: InFlight,
    queue: usize,
    chain: Chain,
    /// The address of the status byte.
    status: u64,
    /// The number of bytes written before the status on success.
    written: u32,
}

impl BlockHandler {
    pub(super) fn new(disk: Arc<Disk>, engine: Engine, write_back: bool) -> Self {
        Self {
            disk,
            engine,
            write_back,
            chain: Chain::default(),
            slots: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            memory: None,
            full: 0,
            held: 0,
            later: None,
            first: 0,
        }
    }

    /// Pops up to `most` chains of queue `index` and submits them to the engine. Returns their number.
    fn take(&mut self, index: usize, queue: &mut VirtQueue, most: u16) -> Served<u16> {
        let memory = Arc::clone(self.memory.get_or_insert_with(|| Arc::new(queue.memory().clone())));
        let limits = self.disk.limits();
        for count in 0..most {
            if queue.in_flight() >= queue.size() || !queue.pop(&mut self.chain)? {
                return Ok(count);
            }
            if let Err(later) = self.disk.throttle.admit(&self.chain) {
                queue.unpop(1);
                self.held |= 1 << index;
                self.later = Some(later);
                return Ok(count);
            }
            let (begun, status) = (InFlight::begin(), request::status(&mut self.chain)?);
            let mut request = self.spare.pop().unwrap_or_else(|| Box::new(Request::new(Arc::clone(&memory))));
            match request::read(&limits, &memory, &mut self.chain, &mut request)? {
                Ok(Asked::Engine(written)) => {
                    let changes = matches!(request.operation, IoOperation::Write | IoOperation::WriteZeroes);
                    request.durable = changes && !self.write_back;
                    request.token = self.remember(begun, index, status, written);
                    self.engine.add(request);
                }
                Ok(Asked::Done(written)) => {
                    self.spare.push(request);
                    answer(&memory, status, VIRTIO_BLK_S_OK as u8)?;
                    queue.push(self.chain.head(), written.saturating_add(1))?;
                }
                Err(refusal) => {
                    if matches!(refusal, Refusal::Failed) {
                        self.disk.counters.end(begun, request.operation, Err(()));
                    }
                    self.spare.push(request);
                    answer(&memory, status, refusal as u8)?;
                    queue.push(self.chain.head(), 1)?;
                }
            }
        }
        Ok(most)
    }

    /// Stores the chain until its request completes, and returns its slot number.
    fn remember(&mut self, begun: InFlight, queue: usize, status: u64, written: u32) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { begun, queue, chain: Chain::default(), status, written });
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(number) {
            (slot.begun, slot.queue, slot.status, slot.written) = (begun, queue, status, written);
            std::mem::swap(&mut slot.chain, &mut self.chain);
        }
        number
    }

    /// Returns all completed chains to the driver and signals it.
    fn finish(&mut self, queues: &mut Queues) -> Served {
        while let Some(request) = self.engine.reap() {
            self.end(request, queues)?;
        }
        queues.signal()
    }

    fn end(&mut self, mut request: Box<Request>, queues: &mut Queues) -> Served {
        let outcome = std::mem::replace(&mut request.outcome, Ok(()));
        let (number, operation) = (request.token, request.operation);
        let bytes = request.ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.spare.push(request);
        self.free.push(number);
        let Some(slot) = self.slots.get_mut(number) else { return Ok(()) };
        let Some(queue) = queues.get(slot.queue) else { return Ok(()) };
        if operation == IoOperation::Read {
            // Even a failed request may have written some of it.
            slot.chain.writable.mark_dirty(queue.memory());
        }
        self.disk.counters.end(slot.begun, operation, outcome.as_ref().map(|()| bytes).map_err(drop));
        let (status, written) = match outcome {
            Ok(()) => (VIRTIO_BLK_S_OK as u8, slot.written),
            Err(failure) => {
                self.disk.report(failure);
                (VIRTIO_BLK_S_IOERR as u8, 0)
            }
        };
        answer(queue.memory(), slot.status, status)?;
        queue.push(slot.chain.head(), written.saturating_add(1))
    }
}

impl Handler for BlockHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        let mut turn = queue.size();
        self.held &= !(1 << index);
        self.later = self.later.filter(|_| self.held != 0);
        loop {
            let Some(queue) = queues.get(index) else { return Ok(()) };
            queue.disable_notification()?;
            let taken = self.take(index, queue, BATCH.min(turn))?;
            turn -= taken;
            self.engine.submit();
            self.disk.ring.store(self.engine.kind() == IoEngine::IoUring, Ordering::Relaxed);
            self.finish(queues)?;
            let Some(queue) = queues.get(index) else { return Ok(()) };
            if queue.in_flight() >= queue.size() {
                // Continues when a request has completed.
                self.full |= 1 << index;
                return Ok(());
            }
            if self.held >> index & 1 != 0 {
                return Ok(());
            }
            if turn == 0 {
                queue.renotify();
                return Ok(());
            }
            if taken == 0 && !queue.enable_notification()? {
                return Ok(());
            }
        }
    }

    fn input(&self) -> Option<RawFd> {
        Some(self.engine.descriptor())
    }

    fn receive(&mut self, queues: &mut Queues) -> Served {
        self.finish(queues)?;
        let full = std::mem::take(&mut self.full);
        (0..u64::BITS as usize).filter(|index| full >> index & 1 != 0).try_for_each(|index| self.queue(index, queues))
    }

    fn deadline(&self) -> Option<Instant> {
        self.later
    }

    fn due(&mut self, queues: &mut Queues) -> Served {
        self.later = None;
        let held = std::mem::take(&mut self.held);
        // Starts after the queue that was served last; otherwise one queue could use up the limit.
        let order = (0..u64::BITS as usize).map(|index| (self.first + index) % u64::BITS as usize);
        let order: Vec<_> = order.filter(|index| held >> index & 1 != 0).collect();
        self.first = order.first().map_or(0, |index| index + 1);
        order.into_iter().try_for_each(|index| self.queue(index, queues))
    }

    fn settle(&mut self, queues: &mut Queues) -> Served {
        self.engine.submit();
        let mut settled = Ok(());
        loop {
            // Requests in flight must complete even if the driver broke the rules.
            settled = settled.and(self.finish(queues));
            if self.engine.in_flight() == 0 {
                return settled;
            }
            self.engine.wait();
        }
    }

    fn end(self: Box<Self>) {
        *lock(&self.disk.engine) = Some(self.engine);
    }
}

impl Disk {
    fn limits(&self) -> Limits {
        Limits { sectors: self.sectors.load(Ordering::Acquire), read_only: self.read_only, serial: self.serial }
    }

    /// Reports a failed request to the embedder.
    fn report(&self, failure: Failure) {
        let Failure { operation, range, error } = failure;
        let (offset, length) = (range.start, range.end.saturating_sub(range.start));
        (self.sink)(IoError { operation, offset, length, error });
    }
}

/// Writes the status of a request.
fn answer(memory: &GuestRam, at: u64, status: u8) -> Served {
    memory
        .write_obj(status, GuestAddress(at))
        .map_err(|_| Malformed("a disk request's status byte is not in guest memory"))
}
