//! Requests that the kernel does by itself, through io_uring.

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

/// Requests that are given to the kernel at once; twice as many can be in flight.
const ENTRIES: u32 = 128;
/// What requests that continue each other become together: bytes, and pieces of memory.
const MAX_MERGED: u64 = 512 << 10;
const MAX_PIECES: usize = 128;
/// Of the thread that makes a ring.
const STACK: usize = 64 << 10;

/// An io_uring of one disk. Dropping it waits for what is in flight.
pub(super) struct Ring {
    ring: IoUring,
    /// What is with the kernel, or about to be. The kernel knows a slot by its number.
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The last that was added, which the next may continue.
    open: Option<Open>,
    /// What threads do better.
    left: Vec<Box<Request>>,
    /// The slots that the kernel has not taken yet, oldest first.
    pushed: VecDeque<usize>,
    /// How many the kernel has taken and not answered.
    flying: usize,
    /// The kernel takes no more.
    refused: bool,
}

/// One entry of the ring: one request, or several that continue each other.
#[derive(Default)]
struct Slot {
    requests: Vec<Box<Request>>,
    places: Vec<Place>,
    /// The memory of all of them, where that is more than one piece.
    pieces: Vec<libc::iovec>,
    length: u64,
}

/// Where an entry that can still grow is, and ends.
struct Open {
    slot: usize,
    operation: IoOperation,
    descriptor: RawFd,
    start: u64,
    end: u64,
    /// Whether it is for threads unless it grows.
    threads: bool,
}

// SAFETY: the pointers of a slot are into guest memory that the requests beside them keep mapped; see `GuestBuffers`.
unsafe impl Send for Ring {}

impl Ring {
    /// A ring, unless the kernel is too old for it or told to refuse.
    ///
    /// It is made on a thread that ends at once. When a ring is closed, the kernel interrupts all threads that made or
    /// used it, wherever they wait; and the caller may be one of the program's own.
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

    /// Whether the kernel takes requests at all.
    pub(super) fn works(&self) -> bool {
        !self.refused
    }

    /// Whether there is room for another request.
    pub(super) fn has_room(&self) -> bool {
        // One may be open, which is not counted yet.
        !self.refused && self.flying + self.pushed.len() + 1 < self.ring.params().cq_entries() as usize
    }

    /// Prepares a request whose bytes are at `place`, where `descriptor` reaches them.
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

    /// Ends what is open, so that it goes with the next submission.
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
        // SAFETY: what the entry points to is guest memory that the slot's requests keep, and the slot's own list; both
        // stay as they are until the kernel has answered.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        // It is full when the kernel takes no more; then nobody waits for an answer of it.
        self.refused |= pushed.is_err();
        self.pushed.push_back(open.slot);
    }

    /// Gives the kernel all that was added. What it does not take, and what threads do better, comes to `left`.
    pub(super) fn submit(&mut self, left: &mut Vec<Box<Request>>) {
        self.close();
        self.enter();
        left.append(&mut self.left);
        if !self.refused {
            return;
        }
        // Those entries stay in the ring, but nobody will ever show them to the kernel.
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
                    // A log subscriber that panics must not keep what was added from those threads.
                    let _ = caught(|| {
                        tracing::warn!(%error, "io_uring takes no more requests of a disk; it goes on with threads");
                    });
                }
            }
        }
    }

    /// Takes what has ended: to `done` what was done in full, to `again` what was not.
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

    /// How many entries of the ring what was added takes.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.flying + self.pushed.len() + usize::from(self.open.is_some())
    }

    /// Waits until nothing is with the kernel, and takes what has ended.
    pub(super) fn drain(&mut self, done: &mut VecDeque<Box<Request>>, again: &mut Vec<Box<Request>>) {
        self.reap(done, again);
        while self.flying > 0 {
            // Whatever it fails with: the kernel still uses the memory, and must be waited for.
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
    /// Readable when there is something to reap.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is the ring's, which lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("flying", &self.flying).field("refused", &self.refused).finish()
    }
}
