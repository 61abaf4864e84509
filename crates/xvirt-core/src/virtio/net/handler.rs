//! Moves frames between the driver's queues and the backend.

use std::io::ErrorKind;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vm_memory::{Bytes, GuestAddress};

use super::port::Port;
use super::{MAX_FRAME, control};
use crate::Error;
use crate::net::VNET_HEADER_LEN;
use crate::sync::lock;
use crate::virtio::{Chain, Handler, Malformed, Queues, Served, VirtQueue};

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const CONTROL: usize = 2;
/// The offset of `num_buffers` in the header (section 5.1.6).
const NUM_BUFFERS: usize = 10;
/// The delay before retrying a send that the backend did not accept.
const RETRY: Duration = Duration::from_millis(1);
/// The delay before trying to reconnect.
const RECONNECT: Duration = Duration::from_secs(1);

pub(super) struct NetHandler {
    port: Arc<Port>,
    /// A frame may be spread over several buffers (`VIRTIO_NET_F_MRG_RXBUF`).
    mergeable: bool,
    /// The driver uses the control queue (`VIRTIO_NET_F_CTRL_VQ`).
    controls: bool,
    chain: Chain,
    /// The frame that is being received. The handler reads it before it knows how many buffers it needs, so that it is
    /// never truncated; it waits here until the driver has room.
    frame: Box<[u8]>,
    /// The length of the waiting frame; 0 if there is none.
    waiting: usize,
    /// The limit has admitted it.
    granted: bool,
    /// When the limit will admit it.
    receive_at: Option<Instant>,
    /// When the limit will admit the next frame of the transmit queue.
    transmit_at: Option<Instant>,
    /// When to try to reconnect.
    connect_at: Option<Instant>,
    /// The buffers that hold the frame so far.
    spread: Vec<(u16, u32)>,
    /// The driver has room, so the handler polls for frames.
    listening: bool,
}

/// The result of delivering a received frame.
enum Delivery {
    Done,
    /// Dropped, because the driver can never have room for it.
    Lost,
    /// The driver must post more buffers first.
    NoRoom,
}

impl NetHandler {
    pub(super) fn new(port: Arc<Port>, mergeable: bool, controls: bool) -> Self {
        let connect_at = (!port.connected()).then(Instant::now);
        Self {
            port,
            mergeable,
            controls,
            chain: Chain::default(),
            frame: vec![0; MAX_FRAME].into_boxed_slice(),
            waiting: 0,
            granted: false,
            receive_at: None,
            transmit_at: None,
            connect_at,
            spread: Vec::new(),
            listening: false,
        }
    }

    /// Moves frames to the driver until there are no more, its buffers are used up, or the limit is reached.
    fn feed(&mut self, queue: &mut VirtQueue) -> Served {
        queue.disable_notification()?;
        self.listening = true;
        // After a full ring of frames, the transmit queue gets its turn.
        let mut turn = queue.size();
        while turn > 0 {
            turn -= 1;
            if self.waiting == 0 && !self.take_frame()? {
                break;
            }
            if self.waiting > 0 {
                if !self.may_receive() {
                    self.listening = false;
                    break;
                }
                match self.deliver(queue)? {
                    Delivery::Done => {
                        self.port.counters.received.passed((self.waiting - VNET_HEADER_LEN) as u64);
                        (self.waiting, self.granted) = (0, false);
                    }
                    Delivery::Lost => {
                        self.port.counters.received.dropped();
                        (self.waiting, self.granted) = (0, false);
                    }
                    Delivery::NoRoom => {
                        self.listening = false;
                        break;
                    }
                }
            }
            if turn == 0 {
                // The backend may hold more frames than its descriptor shows.
                self.listening = false;
                queue.renotify();
            }
        }
        queue.signal()
    }

    /// Whether the limit admits the waiting frame.
    fn may_receive(&mut self) -> bool {
        if !self.granted {
            let length = self.waiting - VNET_HEADER_LEN;
            self.receive_at = lock(&self.port.receive).grant(length as u64, Instant::now()).err();
            self.granted = self.receive_at.is_none();
        }
        self.granted
    }

    /// Reads the next frame; `false` if there is none. Frames that arrive while the link is down are dropped. A removed
    /// interface is an error.
    fn take_frame(&mut self) -> Served<bool> {
        match self.port.backend.receive(&mut self.frame) {
            Ok(length) => {
                let keep = length > VNET_HEADER_LEN && self.port.link_up();
                self.waiting = if keep { length } else { 0 };
                if !keep {
                    self.port.counters.received.dropped();
                }
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Ok(true),
                ErrorKind::WouldBlock => Ok(false),
                ErrorKind::NotConnected => {
                    self.disconnected();
                    Ok(false)
                }
                _ => Err(Error::io("cannot read from the network interface", error)
                    .with_remedy("unplug it from the VM, and plug in one that exists on the host")
                    .into()),
            },
        }
    }

    /// The backend has lost its connection.
    fn disconnected(&mut self) {
        self.listening = false;
        self.connect_at.get_or_insert_with(|| Instant::now() + RECONNECT);
        self.port.set_connected(false);
    }

    fn connect(&mut self) {
        if self.port.backend.reconnect() {
            self.connect_at = None;
            self.port.set_connected(true);
        } else {
            self.connect_at = Some(Instant::now() + RECONNECT);
        }
    }

    /// Copies the waiting frame into the driver's buffers.
    fn deliver(&mut self, queue: &mut VirtQueue) -> Served<Delivery> {
        self.frame[NUM_BUFFERS..VNET_HEADER_LEN].copy_from_slice(&1_u16.to_le_bytes());
        self.spread.clear();
        let (mut done, mut count_at) = (0, [None; 2]);
        while done < self.waiting {
            if self.spread.len() == usize::from(queue.size()) {
                // The whole ring is too small for the frame, so waiting would not help.
                queue.unpop(queue.size());
                return Ok(Delivery::Lost);
            }
            if !queue.pop(&mut self.chain)? {
                // Enabled before the buffers go back, so that the driver notifies when it adds one.
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
                // Drops the frame rather than truncate it, and keeps the buffer for the next one.
                queue.unpop(1);
                return Ok(Delivery::Lost);
            }
            let written = self.chain.writable.put(queue.memory(), left)?;
            self.spread.push((self.chain.head(), written as u32));
            done += written;
        }
        if self.spread.len() > 1 {
            for (address, byte) in count_at.into_iter().zip((self.spread.len() as u16).to_le_bytes()) {
                let address = address.ok_or(Malformed("a receive buffer has no room for the header"))?;
                queue
                    .memory()
                    .write_obj(byte, GuestAddress(address))
                    .map_err(|_| Malformed("a receive buffer is not in guest memory"))?;
            }
        }
        queue.push_all(&self.spread)?;
        Ok(Delivery::Done)
    }

    fn transmit(&mut self, queue: &mut VirtQueue) -> Served {
        let memory = queue.memory().clone();
        let mut pieces = Vec::new();
        self.transmit_at = None;
        let mut ended = false;
        queue.drain_while(&mut self.chain, |chain| {
            let length = chain.readable.len();
            let Some(bytes) = length.checked_sub(VNET_HEADER_LEN as u64) else {
                return Err(Malformed("a frame has no header"));
            };
            pieces.clear();
            chain.readable.slices(&memory, &mut pieces)?;
            if length > MAX_FRAME as u64 || !self.port.link_up() || self.port.is_from_another(&pieces) {
                self.port.counters.sent.dropped();
                return Ok(Some(0));
            }
            // Flushes pending data first, so that the limit admits only what can be sent.
            if would_block(&self.port.backend.flush()) {
                self.transmit_at = Some(Instant::now() + RETRY);
                return Ok(None);
            }
            if let Err(later) = lock(&self.port.transmit).grant(bytes, Instant::now()) {
                self.transmit_at = Some(later);
                return Ok(None);
            }
            // A frame that the network does not accept is dropped, as on a real link.
            match self.port.backend.send(&pieces) {
                Ok(()) => self.port.counters.sent.passed(bytes),
                Err(error) => {
                    self.port.counters.sent.dropped();
                    ended |= error.kind() == ErrorKind::NotConnected;
                }
            }
            Ok(Some(0))
        })?;
        if ended {
            self.disconnected();
        }
        if self.transmit_at.is_none() && would_block(&self.port.backend.flush()) {
            self.transmit_at = Some(Instant::now() + RETRY);
        }
        Ok(())
    }
}

impl Handler for NetHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        match index {
            // The driver has room already, and a frame will be input.
            RECEIVE if self.input().is_some() => Ok(()),
            RECEIVE => self.feed(queue),
            TRANSMIT => self.transmit(queue),
            CONTROL if self.controls => control::serve(&self.port, queue, &mut self.chain),
            _ => Ok(()),
        }
    }

    fn input(&self) -> Option<RawFd> {
        self.port.backend.input().filter(|_| self.listening)
    }

    fn receive(&mut self, queues: &mut Queues) -> Served {
        queues.get(RECEIVE).map_or(Ok(()), |queue| self.feed(queue))
    }

    fn deadline(&self) -> Option<Instant> {
        [self.receive_at, self.transmit_at, self.connect_at].into_iter().flatten().min()
    }

    fn due(&mut self, queues: &mut Queues) -> Served {
        if self.connect_at.is_some_and(|moment| moment <= Instant::now()) {
            self.connect();
        }
        // Serves both, because either limit may have expired; the other queue's deadline is set again.
        queues.get(RECEIVE).map_or(Ok(()), |queue| self.feed(queue))?;
        queues.get(TRANSMIT).map_or(Ok(()), |queue| self.transmit(queue))
    }
}

fn would_block(result: &std::io::Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
