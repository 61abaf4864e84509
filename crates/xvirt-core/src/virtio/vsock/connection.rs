//! The state machine and flow control of one connection (virtio 1.2, section 5.10.6).

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use vmm_sys_util::epoll::EventSet;

use super::outbox::Outbox;
use super::packet::{Header, MAX_DATA, Op, Packet, Ports, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};

/// The most bytes buffered for a host program that does not read.
pub(super) const BUFFER: u32 = 128 << 10;

/// What to do with a connection after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Keep it.
    On,
    /// End it, and send the guest a reset.
    Reset,
    /// End it; the guest knows.
    Gone,
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A host program requested it, and the guest has not answered.
    Requested,
    /// Data flows in both directions.
    Open,
    /// The guest has shut it down; data that it sent before is still on its way to the host program.
    Lingering,
}

/// A connection between a guest's port and a host program.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ports: Ports,
    phase: Phase,
    /// The host program's socket, until the program has stopped reading and writing.
    stream: Option<UnixStream>,
    /// A request, or the answer to one, that must reach the guest first.
    opening: Option<Op>,
    /// The program may have written something.
    readable: bool,
    /// The program has closed its end.
    hung_up: bool,
    outbox: Outbox,
    /// The directions that the guest has shut down.
    guest_shutdown: u32,
    /// The directions that the host program has shut down, and those of which the guest was told.
    host_shutdown: u32,
    told_shutdown: u32,
    /// Flow control counters, which wrap: bytes forwarded to the program, and the value last sent to the guest.
    forwarded: u32,
    told_forwarded: u32,
    /// The guest asked for the counters.
    update_wanted: bool,
    /// Bytes sent to the guest, bytes that it has forwarded, and the size of its buffer.
    sent: u32,
    guest_forwarded: u32,
    guest_buffer: u32,
    /// A credit request was sent to the guest and not answered.
    asked: bool,
}

impl Connection {
    /// A connection that the guest requested with `header`.
    pub(super) fn accepted(ports: Ports, stream: UnixStream, header: &Header) -> Self {
        let mut new = Self::new(ports, stream, Phase::Open, Op::Response);
        new.credit(header);
        new
    }

    /// A connection that a host program requested.
    pub(super) fn requested(ports: Ports, stream: UnixStream) -> Self {
        Self::new(ports, stream, Phase::Requested, Op::Request)
    }

    fn new(ports: Ports, stream: UnixStream, phase: Phase, opening: Op) -> Self {
        Self {
            ports,
            phase,
            stream: Some(stream),
            opening: Some(opening),
            readable: false,
            hung_up: false,
            outbox: Outbox::default(),
            guest_shutdown: 0,
            host_shutdown: 0,
            told_shutdown: 0,
            forwarded: 0,
            told_forwarded: 0,
            update_wanted: false,
            sent: 0,
            guest_forwarded: 0,
            guest_buffer: 0,
            asked: false,
        }
    }

    /// Handles a packet of the guest, except a reset.
    pub(super) fn take(&mut self, header: &Header, data: &[u8]) -> Fate {
        self.credit(header);
        match (header.op, self.phase) {
            (Some(Op::Response), Phase::Requested) => self.granted(),
            (Some(Op::Data), Phase::Open) if self.guest_shutdown & SHUTDOWN_SEND == 0 => self.forward(data),
            (Some(Op::Shutdown), Phase::Open) => self.shut_down(header.flags & SHUTDOWN_BOTH),
            (Some(Op::CreditUpdate), _) => Fate::On,
            (Some(Op::CreditRequest), _) => {
                self.update_wanted = true;
                Fate::On
            }
            _ => Fate::Reset,
        }
    }

    /// Ends the connection after a reset of the guest. Returns whether to deliver the data sent before: only if the
    /// guest had shut down sending.
    pub(super) fn linger(&mut self) -> bool {
        self.phase = Phase::Lingering;
        self.guest_shutdown & SHUTDOWN_SEND != 0 && self.outbox.len() > 0 && self.stream.is_some()
    }

    fn credit(&mut self, header: &Header) {
        (self.guest_buffer, self.guest_forwarded) = (header.buffer, header.forwarded);
        if self.room() > 0 {
            self.asked = false;
        }
    }

    /// The number of bytes for which the guest has room.
    fn room(&self) -> usize {
        // A guest that lies about either number only gets less data, or more than it has room for.
        self.guest_buffer.saturating_sub(self.sent.wrapping_sub(self.guest_forwarded)) as usize
    }

    fn granted(&mut self) -> Fate {
        let line = format!("OK {}\n", self.ports.host);
        let Some(stream) = &self.stream else { return Fate::Reset };
        self.phase = Phase::Open;
        // The socket is empty, so it has room for one line.
        match self.outbox.send(stream, line.as_bytes()) {
            Ok(sent) if sent == line.len() => Fate::On,
            _ => Fate::Reset,
        }
    }

    fn forward(&mut self, data: &[u8]) -> Fate {
        if self.outbox.len() + data.len() > BUFFER as usize {
            // The guest exceeded its credit.
            return Fate::Reset;
        }
        if self.host_shutdown & SHUTDOWN_RECEIVE != 0 {
            // Sent before the guest knew of the shutdown.
            self.forwarded = self.forwarded.wrapping_add(data.len() as u32);
            return Fate::On;
        }
        let Some(stream) = &self.stream else { return Fate::On };
        match self.outbox.send(stream, data) {
            Ok(count) => self.forwarded = self.forwarded.wrapping_add(count as u32),
            Err(_) => self.program_stopped(SHUTDOWN_RECEIVE),
        }
        Fate::On
    }

    fn shut_down(&mut self, flags: u32) -> Fate {
        self.guest_shutdown |= flags;
        if flags & SHUTDOWN_RECEIVE != 0
            && let Some(stream) = &self.stream
        {
            // Fails if the program is gone, which has the same effect.
            let _ = stream.shutdown(Shutdown::Read);
        }
        self.delivered()
    }

    /// Completes shutdowns once all data of the guest has been delivered.
    fn delivered(&mut self) -> Fate {
        if self.outbox.len() > 0 {
            return Fate::On;
        }
        if self.phase == Phase::Lingering {
            return Fate::Gone;
        }
        if self.guest_shutdown == SHUTDOWN_BOTH {
            // The answer to a complete shutdown (section 5.10.6.6).
            return Fate::Reset;
        }
        if self.guest_shutdown & SHUTDOWN_SEND != 0
            && let Some(stream) = &self.stream
        {
            let _ = stream.shutdown(Shutdown::Write);
        }
        Fate::On
    }

    /// The host program has stopped reading or writing.
    fn program_stopped(&mut self, what: u32) {
        self.host_shutdown |= what;
        if what & SHUTDOWN_RECEIVE != 0 {
            self.forwarded = self.forwarded.wrapping_add(self.outbox.len() as u32);
            self.outbox = Outbox::default();
        }
        if self.host_shutdown == SHUTDOWN_BOTH {
            self.stream = None;
        }
    }

    /// Handles events of the host program's socket.
    pub(super) fn host_event(&mut self, events: EventSet) -> Fate {
        self.hung_up |= events.intersects(EventSet::HANG_UP | EventSet::ERROR);
        self.readable |= events.contains(EventSet::IN) || self.hung_up;
        if self.hung_up && self.phase == Phase::Requested {
            return Fate::Reset;
        }
        if self.hung_up || events.contains(EventSet::OUT) {
            self.outbox.blocked = false;
            let Some(stream) = &self.stream else { return Fate::On };
            match self.outbox.flush(stream) {
                Ok(count) => self.forwarded = self.forwarded.wrapping_add(count as u32),
                Err(_) => self.program_stopped(SHUTDOWN_RECEIVE),
            }
            let fate = self.delivered();
            if fate != Fate::On {
                return fate;
            }
        }
        if self.hung_up && !self.reading() {
            self.program_stopped(SHUTDOWN_BOTH);
        }
        Fate::On
    }

    /// Whether to read from the program for the guest.
    fn reading(&self) -> bool {
        self.phase == Phase::Open
            && self.guest_shutdown & SHUTDOWN_RECEIVE == 0
            && self.host_shutdown & SHUTDOWN_SEND == 0
    }

    /// The socket of the host program and the events to watch it for.
    pub(super) fn interest(&self) -> Option<(RawFd, EventSet)> {
        let stream = self.stream.as_ref().filter(|_| !self.hung_up)?;
        let mut events = EventSet::ONE_SHOT;
        events.set(EventSet::IN, self.reading() && !self.readable);
        events.set(EventSet::OUT, self.outbox.blocked);
        Some((stream.as_raw_fd(), events))
    }

    /// Whether the connection waits for an answer of the guest, for which a timeout applies.
    pub(super) fn awaits_guest(&self) -> bool {
        self.phase == Phase::Requested || self.host_shutdown == SHUTDOWN_BOTH
    }

    /// Whether [`next`](Self::next) may return a packet.
    pub(super) fn has_output(&self) -> bool {
        self.phase != Phase::Lingering
            && (self.opening.is_some()
                || self.update_due()
                || self.host_shutdown != self.told_shutdown
                || (self.reading() && self.readable && (self.room() > 0 || !self.asked)))
    }

    fn update_due(&self) -> bool {
        // Often enough that a guest that sends continuously never has to stop.
        self.update_wanted || self.forwarded.wrapping_sub(self.told_forwarded) >= BUFFER / 2
    }

    /// The next packet for the guest. Its data, at most `data.len()` bytes, is written to `data`.
    pub(super) fn next(&mut self, data: &mut [u8]) -> Option<Packet> {
        if let Some(op) = self.opening.take() {
            return Some(self.packet(op));
        }
        if self.update_due() {
            return Some(self.packet(Op::CreditUpdate));
        }
        if self.reading() && self.readable {
            if self.room() == 0 && !std::mem::replace(&mut self.asked, true) {
                return Some(self.packet(Op::CreditRequest));
            }
            if data.is_empty() && self.room() > 0 {
                // The guest's buffer has no room for data, so it gets a packet without any.
                return Some(self.packet(Op::CreditUpdate));
            }
            let most = data.len().min(self.room()).min(MAX_DATA);
            if let Some(count) = self.read(&mut data[..most]) {
                self.sent = self.sent.wrapping_add(count);
                return Some(Packet { length: count, ..self.packet(Op::Data) });
            }
        }
        if self.host_shutdown != self.told_shutdown {
            self.told_shutdown = self.host_shutdown;
            return Some(Packet { flags: self.host_shutdown, ..self.packet(Op::Shutdown) });
        }
        None
    }

    /// Reads from the program; `None` if there is nothing now.
    fn read(&mut self, data: &mut [u8]) -> Option<u32> {
        if data.is_empty() {
            return None;
        }
        let mut stream = self.stream.as_ref()?;
        loop {
            match stream.read(data) {
                Ok(0) => break self.program_stopped(if self.hung_up { SHUTDOWN_BOTH } else { SHUTDOWN_SEND }),
                Ok(count) => return Some(count as u32),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    break;
                }
                Err(_) => break self.program_stopped(SHUTDOWN_BOTH),
            }
        }
        None
    }

    fn packet(&mut self, op: Op) -> Packet {
        (self.told_forwarded, self.update_wanted) = (self.forwarded, false);
        Packet { buffer: BUFFER, forwarded: self.forwarded, ..Packet::bare(op, self.ports) }
    }
}
