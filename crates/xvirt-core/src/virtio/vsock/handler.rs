//! Moves packets between the queues and the connections.

use std::os::fd::RawFd;
use std::time::Instant;

use super::device::{EVENT, RECEIVE, SharedEpoll, TRANSMIT};
use super::packet::{HEADER, Header, MAX_DATA};
use super::table::Table;
use crate::sync::lock;
use crate::virtio::{Chain, Handler, Malformed, Queues, Served, VirtQueue};

/// `VIRTIO_VSOCK_EVENT_TRANSPORT_RESET` (virtio 1.2, section 5.10.6.7): connections are gone, and the CID may have
/// changed.
const TRANSPORT_RESET: u32 = 0;

pub(super) struct VsockHandler {
    guest_cid: u64,
    table: Table,
    /// Receives the table's `epoll` back at the end.
    epoll: SharedEpoll,
    chain: Chain,
    data: Box<[u8]>,
    /// The driver must be told that its connections did not survive.
    reset_event: bool,
    /// Packets of the driver wait until it has taken its answers.
    stalled: bool,
}

impl VsockHandler {
    pub(super) fn new(guest_cid: u64, table: Table, epoll: SharedEpoll, reset_event: bool) -> Self {
        let data = vec![0; MAX_DATA].into_boxed_slice();
        Self { guest_cid, table, epoll, chain: Chain::default(), data, reset_event, stalled: false }
    }

    /// Handles the driver's packets.
    fn transmit(&mut self, queue: &mut VirtQueue) -> Served {
        let mut turn = queue.size();
        queue.disable_notification()?;
        loop {
            self.stalled = self.table.is_full();
            if self.stalled || turn == 0 {
                break;
            }
            if !queue.pop(&mut self.chain)? {
                if queue.enable_notification()? {
                    continue;
                }
                break;
            }
            turn -= 1;
            self.take(queue)?;
            queue.push(self.chain.head(), 0)?;
        }
        if turn == 0 {
            // Comes back here after the other queues.
            queue.renotify();
        }
        queue.signal()
    }

    fn take(&mut self, queue: &VirtQueue) -> Served {
        let mut header = [0; HEADER];
        self.chain.readable.take(queue.memory(), &mut header)?;
        let header = Header::from_bytes(&header);
        // The table compares the length in the header with the length of the data.
        let there = usize::try_from(self.chain.readable.len()).unwrap_or(MAX_DATA);
        let data = &mut self.data[..there.min(header.length as usize).min(MAX_DATA)];
        self.chain.readable.take(queue.memory(), data)?;
        self.table.take(&header, data);
        Ok(())
    }

    /// Sends pending packets to the driver.
    fn feed(&mut self, queue: &mut VirtQueue) -> Served {
        let mut turn = queue.size();
        queue.disable_notification()?;
        while self.table.has_output() && turn > 0 {
            if !queue.pop(&mut self.chain)? {
                if queue.enable_notification()? {
                    continue;
                }
                break;
            }
            turn -= 1;
            self.give(queue)?;
        }
        if turn == 0 {
            queue.renotify();
        }
        queue.signal()
    }

    /// Puts the next packet into the popped buffer, or returns the buffer.
    fn give(&mut self, queue: &mut VirtQueue) -> Served {
        let Some(room) = self.chain.writable.len().checked_sub(HEADER as u64) else {
            return Err(Malformed("a receive buffer has no room for the header"));
        };
        let room = usize::try_from(room).unwrap_or(MAX_DATA).min(MAX_DATA);
        let data = &mut self.data[..room];
        let Some(packet) = self.table.next(data) else {
            queue.unpop(1);
            return Ok(());
        };
        let length = packet.length as usize;
        let header = packet.to_bytes(self.guest_cid);
        let written = self.chain.writable.put(queue.memory(), &header)?
            + self.chain.writable.put(queue.memory(), data.get(..length).unwrap_or_default())?;
        queue.push(self.chain.head(), written as u32)
    }

    fn feed_from(&mut self, queues: &mut Queues) -> Served {
        if let Some(queue) = queues.get(RECEIVE) {
            self.feed(queue)?;
        }
        if self.stalled
            && !self.table.is_full()
            && let Some(queue) = queues.get(TRANSMIT)
        {
            // Makes the worker come back after the other queue, so that neither direction starves.
            queue.renotify();
        }
        Ok(())
    }

    /// Sends the driver a pending event, once it has posted a buffer.
    fn event(&mut self, queue: &mut VirtQueue) -> Served {
        if self.reset_event && queue.pop(&mut self.chain)? {
            let written = self.chain.writable.put(queue.memory(), &TRANSPORT_RESET.to_le_bytes())?;
            queue.push(self.chain.head(), written as u32)?;
            self.reset_event = false;
        }
        queue.signal()
    }
}

impl Handler for VsockHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        match (index, queues.get(index)) {
            (TRANSMIT, Some(queue)) => self.transmit(queue)?,
            (EVENT, Some(queue)) => self.event(queue)?,
            _ => {}
        }
        self.feed_from(queues)
    }

    fn input(&self) -> Option<RawFd> {
        Some(self.table.descriptor())
    }

    fn receive(&mut self, queues: &mut Queues) -> Served {
        self.table.host_events();
        self.feed_from(queues)
    }

    fn deadline(&self) -> Option<Instant> {
        self.table.deadline()
    }

    fn due(&mut self, queues: &mut Queues) -> Served {
        self.table.due();
        self.feed_from(queues)
    }

    fn end(self: Box<Self>) {
        *lock(&self.epoll) = Some(self.table.end());
    }
}
