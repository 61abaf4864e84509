//! One connection: what each side may do when, and how much (virtio 1.2, section 5.10.6).

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use vmm_sys_util::epoll::EventSet;

use super::outbox::Outbox;
use super::packet::{Header, MAX_DATA, Op, Packet, Ports, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};

/// Bytes that are kept for a host program that does not read.
pub(super) const BUFFER: u32 = 128 << 10;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    On,
    /// It is over, and the guest is to hear so.
    Reset,
    /// It is over, and the guest knows.
    Gone,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A host program asked for it, and the guest has not answered.
    Requested,
    /// Data goes both ways.
    Open,
    /// The guest has ended it properly; what it sent before is still on its way to the host program.
    Lingering,
}

/// A connection between a guest's port and a host program.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ports: Ports,
    phase: Phase,
    /// The host program; gone once it neither reads nor writes any more.
    stream: Option<UnixStream>,
    /// A request or an answer to one that the guest is to have first.
    opening: Option<Op>,
    /// The program may have written something.
    readable: bool,
    /// The program has closed its end.
    hung_up: bool,
    outbox: Outbox,
    /// What the guest does no more.
    guest_shutdown: u32,
    /// What the host program does no more, and how much of that the guest was told.
    host_shutdown: u32,
    told_shutdown: u32,
    /// Counters of flow control, which wrap: bytes passed on to the program, and what the guest was told of that.
    forwarded: u32,
    told_forwarded: u32,
    /// The guest asked for the counters.
    update_wanted: bool,
    /// Bytes sent to the guest, what it has of them behind it, and how many it takes that are not.
    sent: u32,
    guest_forwarded: u32,
    guest_buffer: u32,
    /// The guest was asked whether there is no room still.
    asked: bool,
}

impl Connection {
    /// One that the guest asked for, with `header`.
    pub(super) fn accepted(ports: Ports, stream: UnixStream, header: &Header) -> Self {
        let mut new = Self::new(ports, stream, Phase::Open, Op::Response);
        new.credit(header);
        new
    }

    /// One that a host program asked for.
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

    /// Takes a packet of the guest. A reset is not for here.
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

    /// The guest ended it. Whether what it sent before is to be delivered still: it is, if the guest said that this was
    /// all.
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

    /// How much the guest takes now.
    fn room(&self) -> usize {
        // A guest that lies about either number only gets less, or more than it said it can keep.
        self.guest_buffer.saturating_sub(self.sent.wrapping_sub(self.guest_forwarded)) as usize
    }

    fn granted(&mut self) -> Fate {
        let line = format!("OK {}\n", self.ports.host);
        let Some(stream) = &self.stream else { return Fate::Reset };
        self.phase = Phase::Open;
        // Nothing was written before, so the socket has room for one line.
        match self.outbox.send(stream, line.as_bytes()) {
            Ok(sent) if sent == line.len() => Fate::On,
            _ => Fate::Reset,
        }
    }

    fn forward(&mut self, data: &[u8]) -> Fate {
        if self.outbox.len() + data.len() > BUFFER as usize {
            // More than was granted.
            return Fate::Reset;
        }
        if self.host_shutdown & SHUTDOWN_RECEIVE != 0 {
            // Sent before the guest knew.
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
            // Fails if the program is gone, which comes to the same.
            let _ = stream.shutdown(Shutdown::Read);
        }
        self.delivered()
    }

    /// Ends what is to end once all that the guest sent has been delivered.
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

    /// The host program reads or writes no more.
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

    /// Something happened to the host program's end.
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

    /// Whether the guest is to have what the program writes.
    fn reading(&self) -> bool {
        self.phase == Phase::Open
            && self.guest_shutdown & SHUTDOWN_RECEIVE == 0
            && self.host_shutdown & SHUTDOWN_SEND == 0
    }

    /// What to watch the host program's end for, and which it is.
    pub(super) fn interest(&self) -> Option<(RawFd, EventSet)> {
        let stream = self.stream.as_ref().filter(|_| !self.hung_up)?;
        let mut events = EventSet::ONE_SHOT;
        events.set(EventSet::IN, self.reading() && !self.readable);
        events.set(EventSet::OUT, self.outbox.blocked);
        Some((stream.as_raw_fd(), events))
    }

    /// Whether it waits for an answer of the guest that must not take for ever.
    pub(super) fn awaits_guest(&self) -> bool {
        self.phase == Phase::Requested || self.host_shutdown == SHUTDOWN_BOTH
    }

    /// Whether [`next`](Self::next) may have something.
    pub(super) fn has_output(&self) -> bool {
        self.phase != Phase::Lingering
            && (self.opening.is_some()
                || self.update_due()
                || self.host_shutdown != self.told_shutdown
                || (self.reading() && self.readable && (self.room() > 0 || !self.asked)))
    }

    fn update_due(&self) -> bool {
        // Often enough that a guest that sends without pause never has to.
        self.update_wanted || self.forwarded.wrapping_sub(self.told_forwarded) >= BUFFER / 2
    }

    /// The next packet for the guest; its data, at most `data.len()` bytes, is put into `data`.
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
                // A buffer without room for data is used up by a packet that has none.
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

    /// Reads from the program; `None` is that there is nothing now.
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
