//! Moving frames between the driver's queues and the backend.

use std::io::ErrorKind;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vm_memory::{Bytes, GuestAddress};

use super::backend::NetBackend;
use crate::net::VNET_HEADER_LEN;
use crate::virtio::{Chain, Handler, Malformed, Queues, Served, VirtQueue};

const RECEIVE: usize = 0;
/// Where the header says over how many buffers a frame is spread (section 5.1.6).
const NUM_BUFFERS: usize = 10;
/// The largest frame, with header: 64 KiB of segments that somebody will cut up, and their Ethernet header.
const MAX_FRAME: usize = VNET_HEADER_LEN + 65_536 + 18;

pub(super) struct NetHandler {
    backend: Arc<dyn NetBackend>,
    link_up: Arc<AtomicBool>,
    /// A frame may be spread over several buffers.
    mergeable: bool,
    chain: Chain,
    /// The frame that is being received. A frame is read before it is known how many of the driver's buffers it needs,
    /// so that none is ever cut off, and waits here until the driver has room for it.
    frame: Box<[u8]>,
    /// How long it is; 0 when there is none.
    waiting: usize,
    /// Buffers it was written to so far.
    spread: Vec<(u16, u32)>,
    /// The driver has room: more frames are worth knowing about.
    listening: bool,
    /// The log knows that the backend failed.
    reported: bool,
}

/// What became of a received frame.
enum Delivery {
    Done,
    /// The driver must make more buffers available first.
    NoRoom,
}

impl NetHandler {
    pub(super) fn new(backend: Arc<dyn NetBackend>, link_up: Arc<AtomicBool>, mergeable: bool) -> Self {
        let frame = vec![0; MAX_FRAME].into_boxed_slice();
        let (chain, spread) = (Chain::default(), Vec::new());
        Self { backend, link_up, mergeable, chain, frame, waiting: 0, spread, listening: false, reported: false }
    }

    /// Moves frames to the driver until one of both sides has no more.
    fn feed(&mut self, queue: &mut VirtQueue) -> Served {
        queue.disable_notification()?;
        self.listening = true;
        // After that many the transmit queue has its turn; the descriptor stays readable.
        for _ in 0..queue.size() {
            if self.waiting == 0 && !self.take_frame() {
                break;
            }
            if self.waiting > 0 {
                match self.deliver(queue)? {
                    Delivery::Done => self.waiting = 0,
                    Delivery::NoRoom => {
                        self.listening = false;
                        break;
                    }
                }
            }
        }
        queue.signal()
    }

    /// Reads the next frame, `false` when there is none. What comes while the link is down is lost.
    fn take_frame(&mut self) -> bool {
        match self.backend.receive(&mut self.frame) {
            Ok(length) => {
                let keep = length > VNET_HEADER_LEN && self.link_up.load(Ordering::Acquire);
                self.waiting = if keep { length } else { 0 };
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    // The interface is gone; polling it would turn round and round.
                    if !std::mem::replace(&mut self.reported, true) {
                        tracing::warn!(%error, "a network card cannot receive");
                    }
                    self.listening = false;
                }
                false
            }
        }
    }

    /// Copies the waiting frame into the driver's buffers.
    fn deliver(&mut self, queue: &mut VirtQueue) -> Served<Delivery> {
        self.frame[NUM_BUFFERS..VNET_HEADER_LEN].copy_from_slice(&1_u16.to_le_bytes());
        self.spread.clear();
        let (mut done, mut count_at) = (0, [None; 2]);
        while done < self.waiting {
            if self.spread.len() == usize::from(queue.size()) {
                // A driver whose whole ring has no room for the frame will never have it.
                queue.unpop(queue.size());
                return Ok(Delivery::Done);
            }
            if !queue.pop(&mut self.chain)? {
                // Asked before the buffers are put back: the driver then notifies when it adds one to them.
                if queue.enable_notification()? {
                    continue;
                }
                queue.unpop(self.spread.len() as u16);
                return Ok(Delivery::NoRoom);
            }
            if self.spread.is_empty() {
                count_at = [NUM_BUFFERS, NUM_BUFFERS + 1].map(|offset| self.chain.writable.address_of(offset));
            }
            let left = &self.frame[done..self.waiting];
            if !self.mergeable && self.chain.writable.len() < left.len() as u64 {
                // Better lost than cut off. The buffer is for the next one.
                queue.unpop(1);
                return Ok(Delivery::Done);
            }
            let written = self.chain.writable.put(queue.memory(), left)?;
            self.spread.push((self.chain.head(), written as u32));
            done += written;
        }
        if self.spread.len() > 1 {
            for (address, byte) in count_at.into_iter().zip((self.spread.len() as u16).to_le_bytes()) {
                let address = address.ok_or(Malformed("a receive buffer has no room for the header"))?;
                queue.memory().write_obj(byte, GuestAddress(address)).map_err(|_| Malformed("a buffer went away"))?;
            }
        }
        for (head, written) in &self.spread {
            queue.push(*head, *written)?;
        }
        Ok(Delivery::Done)
    }

    fn transmit(&mut self, queue: &mut VirtQueue) -> Served {
        let memory = queue.memory().clone();
        let mut pieces = Vec::new();
        queue.drain(&mut self.chain, |chain| {
            let length = chain.readable.len();
            if length < VNET_HEADER_LEN as u64 {
                return Err(Malformed("a frame has no header"));
            }
            pieces.clear();
            chain.readable.slices(&memory, &mut pieces)?;
            if length <= MAX_FRAME as u64 && self.link_up.load(Ordering::Acquire) {
                // What a network cannot take is lost; nobody tells the sender on a cable either.
                let _ = self.backend.send(&pieces);
            }
            Ok(0)
        })
    }
}

impl Handler for NetHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        if index == RECEIVE { self.feed(queue) } else { self.transmit(queue) }
    }

    fn input(&self) -> Option<RawFd> {
        self.listening.then(|| self.backend.input())
    }

    fn receive(&mut self, queues: &mut Queues) -> Served {
        queues.get(RECEIVE).map_or(Ok(()), |queue| self.feed(queue))
    }
}
