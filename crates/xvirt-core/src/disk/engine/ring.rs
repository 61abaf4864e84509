//! Requests that the kernel executes asynchronously through io_uring.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::thread::Builder;

use io_uring::{IoUring, Probe, opcode, squeue, types};
use rustix::event::{PollFd, PollFlags};

use super::request::{IoOperation, Request};
use crate::disk::place::Place;
use crate::thread::caught;
use crate::thread::with_signals_blocked;

/// The most requests submitted at once; twice as many can be in flight.
const ENTRIES: u32 = 128;
/// The limits of a merged request: bytes, and pieces of memory.
const MAX_MERGED: u64 = 512 << 10;
const MAX_PIECES: usize = 128;
/// The stack size of the thread that creates a ring.
const STACK: usize = 64 << 10;

/// An io_uring of one disk. Dropping it waits for requests in flight.
pub(super) struct Ring {
    ring: IoUring,
    /// Requests submitted or about to be. The number of a slot identifies it to the kernel.
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The last added request, with which the next may merge.
    open: Option<Open>,
    /// Requests that threads should execute.
    left: Vec<Box<Request>>,
    /// Slots that the kernel has not accepted yet, oldest first.
    pushed: VecDeque<usize>,
    /// The number of slots that the kernel has accepted and not completed.
    flying: usize,
    /// The kernel accepts no more requests.
    refused: bool,
}

/// One entry of the ring: one request, or several merged ones.
#[derive(Default)]
struct Slot {
    requests: Vec<Box<Request>>,
    places: Vec<Place>,
    /// The memory of all of them, if it is more than one piece.
    pieces: Vec<libc::iovec>,
    length: u64,
}

/// The entry that can still grow, and the end of its range.
struct Open {
    slot: usize,
    operation: IoOperation,
    descriptor: RawFd,
    start: u64,
    end: u64,
    /// Whether threads should execute it unless it grows.
    threads: bool,
}

// SAFETY: the pointers of a slot refer to guest memory that the slot's requests keep mapped; see `GuestBuffers`.
unsafe impl Send for Ring {}

impl Ring {
    /// Creates a ring; an error if the kernel is too old or configured to refuse it.
    ///
    /// A thread that ends at once creates it: when a ring is closed, the kernel interrupts the waits of all threads
    /// that created or used it, and the caller may be a thread of the program.
    pub(super) fn new() -> io::Result<Self> {
        let thread = Builder::new().name("disk-ring".to_owned()).stack_size(STACK);
        let maker = with_signals_blocked(|| thread.spawn(make))?;
        let ring = maker.join().map_err(|_| io::Error::other("the thread that makes an io_uring panicked"))??;
        Ok(Self {
            ring,
            slots: Vec::new(),
            free: Vec::new(),
            open: None,
            left: Vec::new(),
            pushed: VecDeque::new(),
            flying: 0,
            refused: false,
        })
    }

    /// Whether the kernel accepts requests.
    pub(super) fn works(&self) -> bool {
        !self.refused
    }

    /// Whether there is room for another request.
    pub(super) fn has_room(&self) -> bool {
        // The open entry is not counted in `pushed` yet.
        !self.refused && self.flying + self.pushed.len() + 1 < self.ring.params().cq_entries() as usize
    }

    /// Prepares a request whose bytes are at `place`, in the file of `descriptor`.
    pub(super) fn add(&mut self, request: Box<Request>, place: Place, descriptor: RawFd) {
        let (operation, start) = (request.operation, place.offset());
        let end = start + request.buffers.len();
        let pieces = request.buffers.pieces().len();
        let threads = operation == IoOperation::Write && place.writing_waits();
        if let Some(open) = &mut self.open
            && (open.operation, open.descriptor, open.end) == (operation, descriptor, start)
            && end - open.start <= MAX_MERGED
            && let Some(slot) = self.slots.get_mut(open.slot)
            && slot.pieces.len() + pieces <= MAX_PIECES
        {
            open.end = end;
            open.threads = false;
            slot.take(request, place);
            return;
        }
        self.close();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        if let Some(free) = self.slots.get_mut(slot) {
            free.take(request, place);
        }
        self.open = Some(Open { slot, operation, descriptor, start, end, threads });
    }

    /// Closes the open entry, so that it goes with the next submission.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.threads {
            let mut left = std::mem::take(&mut self.left);
            self.release(open.slot, |request| left.push(request));
            self.left = left;
            return;
        }
        let Some(slot) = self.slots.get(open.slot) else { return };
        let entry = slot.entry(&open).user_data(open.slot as u64);
        if self.ring.submission().is_full() {
            self.enter();
        }
        // SAFETY: the entry points to guest memory that the slot's requests keep mapped, and to the slot's own list;
        // both stay unchanged until the kernel has completed it.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        // The queue is full only if the kernel refuses requests; then no completion will arrive.
        self.refused |= pushed.is_err();
        self.pushed.push_back(open.slot);
    }

    /// Submits all added requests. Those that the kernel refuses, and those for threads, are moved to `left`.
    pub(super) fn submit(&mut self, left: &mut Vec<Box<Request>>) {
        self.close();
        self.enter();
        left.append(&mut self.left);
        if !self.refused {
            return;
        }
        // Their entries stay in the ring, but are never submitted.
        while let Some(slot) = self.pushed.pop_front() {
            self.release(slot, |request| left.push(request));
        }
    }

    fn enter(&mut self) {
        while !self.pushed.is_empty() && !self.refused {
            match self.ring.submit() {
                Ok(taken) => {
                    let taken = taken.min(self.pushed.len());
                    self.pushed.drain(..taken);
                    self.flying += taken;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.refused = true;
                    // A panic of a log subscriber must not keep these requests from the threads.
                    let _ = caught(|| {
                        tracing::warn!(%error, "io_uring accepts no more requests for a disk; threads execute them from now on");
                    });
                }
            }
        }
    }

    /// Collects completions: fully executed requests go to `done`, others to `again`.
    pub(super) fn reap(&mut self, done: &mut VecDeque<Box<Request>>, again: &mut Vec<Box<Request>>) {
        loop {
            let answer = self.ring.completion().next();
            let Some(answer) = answer else { return };
            let slot = answer.user_data() as usize;
            let length = self.slots.get(slot).map_or(0, |slot| slot.length);
            self.flying = self.flying.saturating_sub(1);
            if u64::try_from(answer.result()).is_ok_and(|count| count == length) {
                self.release(slot, |mut request| {
                    request.outcome = Ok(());
                    done.push_back(request);
                });
            } else {
                self.release(slot, |request| again.push(request));
            }
        }
    }

    /// The number of ring entries of the added requests.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.flying + self.pushed.len() + usize::from(self.open.is_some())
    }

    /// Waits until the kernel has completed everything, and collects it.
    pub(super) fn drain(&mut self, done: &mut VecDeque<Box<Request>>, again: &mut Vec<Box<Request>>) {
        self.reap(done, again);
        while self.flying > 0 {
            // Ignore errors, because the kernel still uses the memory, so this must wait.
            let _ = rustix::event::poll(&mut [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)], None);
            self.reap(done, again);
        }
    }

    fn release(&mut self, number: usize, mut each: impl FnMut(Box<Request>)) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        slot.places.clear();
        slot.pieces.clear();
        slot.length = 0;
        slot.requests.drain(..).for_each(&mut each);
        self.free.push(number);
    }
}

fn make() -> io::Result<IoUring> {
    let ring = IoUring::builder().dontfork().build(ENTRIES)?;
    if !ring.params().is_feature_nodrop() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel's io_uring is too old"));
    }
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [opcode::Read::CODE, opcode::Write::CODE, opcode::Readv::CODE, opcode::Writev::CODE];
    if !needed.iter().all(|code| probe.is_supported(*code)) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel's io_uring cannot read and write"));
    }
    Ok(ring)
}

impl Slot {
    fn take(&mut self, request: Box<Request>, place: Place) {
        self.pieces.extend_from_slice(request.buffers.pieces());
        self.length += request.buffers.len();
        self.requests.push(request);
        self.places.push(place);
    }

    fn entry(&self, open: &Open) -> squeue::Entry {
        let (descriptor, pieces) = (types::Fd(open.descriptor), self.pieces.as_slice());
        let (list, count) = (pieces.as_ptr(), pieces.len() as u32);
        let write = open.operation == IoOperation::Write;
        match pieces {
            [one] if write => {
                opcode::Write::new(descriptor, one.iov_base.cast(), one.iov_len as u32).offset(open.start).build()
            }
            [one] => opcode::Read::new(descriptor, one.iov_base.cast(), one.iov_len as u32).offset(open.start).build(),
            _ if write => opcode::Writev::new(descriptor, list, count).offset(open.start).build(),
            _ => opcode::Readv::new(descriptor, list, count).offset(open.start).build(),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.drain(&mut VecDeque::new(), &mut Vec::new());
    }
}

impl AsFd for Ring {
    /// Becomes readable when there is a completion.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the ring, which outlives the borrow.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("flying", &self.flying).field("refused", &self.refused).finish()
    }
}
