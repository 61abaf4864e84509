//! All connections of a device, and the host programs that request one.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use super::connection::{Connection, Fate};
use super::host::{self, Asked};
use super::packet::{HOST_CID, Header, MAX_DATA, Op, Packet, Ports, STREAM};

/// The most connections and pending requests.
pub(super) const MAX_CONNECTIONS: usize = 1024;
/// The most answers waiting for room in the driver's queue; beyond that, its packets are not read.
pub(super) const MAX_ANSWERS: usize = 256;
/// How long a program may take for its request, and a guest for its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long to stop accepting when the process has no descriptors left.
const RECOVERY: Duration = Duration::from_secs(1);
/// The most events handled and programs accepted before the queues get their turn.
const TURN: usize = 64;
/// The first port assigned to host programs, the same as in Firecracker.
const FIRST_HOST_PORT: u32 = 1 << 30;
/// The id of the listener.
const LISTENER: u64 = 0;

/// The connections of one device, from activation to reset.
pub(super) struct Table {
    guest_cid: u64,
    path: PathBuf,
    listener: Arc<UnixListener>,
    epoll: Epoll,
    /// Programs that have not sent their request.
    asking: HashMap<u64, UnixStream>,
    connections: HashMap<u64, Tracked>,
    by_ports: HashMap<Ports, u64>,
    /// Connections that may have a packet for the guest, in the order of their turns.
    ready: VecDeque<u64>,
    /// Packets for the guest about connections that ended or never existed.
    answers: VecDeque<Packet>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Ids are never reused, so a late event finds no connection.
    last_id: u64,
    next_host_port: u32,
}

struct Tracked {
    connection: Connection,
    /// It is in `ready`.
    ready: bool,
    /// The events that `epoll` watches it for; `None` after the (one-shot) event.
    watched: Option<EventSet>,
    deadline: Option<Instant>,
}

impl Table {
    /// A table without connections. `epoll` must watch nothing.
    pub(super) fn new(guest_cid: u64, path: PathBuf, listener: Arc<UnixListener>, epoll: Epoll) -> io::Result<Self> {
        let table = Self {
            guest_cid,
            path,
            listener,
            epoll,
            asking: HashMap::new(),
            connections: HashMap::new(),
            by_ports: HashMap::new(),
            ready: VecDeque::new(),
            answers: VecDeque::new(),
            deadlines: BTreeSet::new(),
            last_id: LISTENER,
            next_host_port: FIRST_HOST_PORT,
        };
        table.watch(ControlOperation::Add, table.listener.as_raw_fd(), LISTENER, EventSet::IN | EventSet::ONE_SHOT)?;
        Ok(table)
    }

    /// Ends all connections and returns the `epoll`.
    pub(super) fn end(self) -> Epoll {
        let asking = self.asking.values().map(AsRawFd::as_raw_fd);
        let connected = self.connections.values().filter_map(|tracked| tracked.connection.interest());
        let sockets = asking.chain(connected.map(|(descriptor, _)| descriptor));
        // Closing them would not suffice if a child of fork(2) still has them open.
        for descriptor in sockets.chain([self.listener.as_raw_fd()]) {
            // Fails if the descriptor is not watched, which is the desired state.
            let _ = self.epoll.ctl(ControlOperation::Delete, descriptor, EpollEvent::default());
        }
        self.epoll
    }

    /// Becomes readable when [`host_events`](Self::host_events) has work.
    pub(super) fn descriptor(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Whether there is a packet for the guest.
    pub(super) fn has_output(&self) -> bool {
        !self.answers.is_empty() || !self.ready.is_empty()
    }

    /// Whether the guest must take answers before it may send more.
    pub(super) fn is_full(&self) -> bool {
        self.answers.len() >= MAX_ANSWERS
    }

    /// The next packet for the guest, with its data in `data`; `None` if the connection in turn has nothing.
    pub(super) fn next(&mut self, data: &mut [u8]) -> Option<Packet> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let id = self.ready.pop_front()?;
        let tracked = self.connections.get_mut(&id)?;
        tracked.ready = false;
        let packet = tracked.connection.next(data);
        self.settle(id, Fate::On);
        packet
    }

    /// Handles a packet of the guest.
    pub(super) fn take(&mut self, header: &Header, data: &[u8]) {
        if header.source_cid != self.guest_cid {
            // The source is not the guest, so there is no one to answer.
            return;
        }
        let ports = header.ports();
        if header.op == Some(Op::Reset) {
            return self.reset_by_guest(ports);
        }
        let whole = header.length as usize == data.len() && data.len() <= MAX_DATA;
        if header.destination_cid != HOST_CID || header.kind != STREAM {
            self.answers.push_back(Packet { source_cid: header.destination_cid, ..Packet::bare(Op::Reset, ports) });
            return;
        }
        let known = self.by_ports.get(&ports).copied();
        match known {
            Some(id) if whole => {
                let Some(tracked) = self.connections.get_mut(&id) else { return };
                let fate = tracked.connection.take(header, data);
                self.settle(id, fate);
            }
            Some(id) => self.settle(id, Fate::Reset),
            None if whole && header.op == Some(Op::Request) => self.requested_by_guest(ports, header),
            None => self.refuse(ports),
        }
    }

    fn refuse(&mut self, ports: Ports) {
        self.answers.push_back(Packet::bare(Op::Reset, ports));
    }

    fn reset_by_guest(&mut self, ports: Ports) {
        let Some(id) = self.by_ports.remove(&ports) else { return };
        let Some(tracked) = self.connections.get_mut(&id) else { return };
        let fate = if tracked.connection.linger() { Fate::On } else { Fate::Gone };
        self.settle(id, fate);
    }

    fn requested_by_guest(&mut self, ports: Ports, header: &Header) {
        if self.is_crowded() {
            return self.refuse(ports);
        }
        match host::reach(&host::port_path(&self.path, ports.host)) {
            Ok(stream) => {
                let id = self.new_id();
                self.track(id, Connection::accepted(ports, stream, header), ControlOperation::Add);
            }
            Err(_) => self.refuse(ports),
        }
    }

    fn is_crowded(&self) -> bool {
        self.asking.len() + self.connections.len() >= MAX_CONNECTIONS
    }

    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Handles events of host programs.
    pub(super) fn host_events(&mut self) {
        let mut events = [EpollEvent::default(); TURN];
        // Does not wait. On an error there is nothing to do.
        let count = self.epoll.wait(0, &mut events).unwrap_or(0);
        for event in events.iter().take(count) {
            match event.data() {
                LISTENER => self.accept(),
                id => self.host_event(id, event.event_set()),
            }
        }
    }

    fn host_event(&mut self, id: u64, events: EventSet) {
        if self.asking.contains_key(&id) {
            return self.hear(id);
        }
        let Some(tracked) = self.connections.get_mut(&id) else { return };
        tracked.watched = None;
        let fate = tracked.connection.host_event(events);
        self.settle(id, fate);
    }

    /// Accepts programs that have connected to the socket.
    fn accept(&mut self) {
        for _ in 0..TURN {
            match self.listener.accept() {
                // Beyond the limit, the socket is closed.
                Ok((stream, _)) if !self.is_crowded() => self.admit(stream),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    tracing::warn!(%error, "a vsock device cannot accept connections now; it will retry");
                    self.deadlines.insert((Instant::now() + RECOVERY, LISTENER));
                    return;
                }
            }
        }
        self.listen_on();
    }

    fn listen_on(&self) {
        let events = EventSet::IN | EventSet::ONE_SHOT;
        if let Err(error) = self.watch(ControlOperation::Modify, self.listener.as_raw_fd(), LISTENER, events) {
            tracing::error!(%error, "a vsock device cannot accept connections any more");
        }
    }

    fn admit(&mut self, stream: UnixStream) {
        let id = self.new_id();
        let events = EventSet::IN | EventSet::EDGE_TRIGGERED;
        let watched = stream
            .set_nonblocking(true)
            .and_then(|()| self.watch(ControlOperation::Add, stream.as_raw_fd(), id, events));
        // A socket that cannot be watched is closed.
        if watched.is_ok() {
            self.asking.insert(id, stream);
            self.deadlines.insert((Instant::now() + PATIENCE, id));
        }
    }

    /// Reads a program's request.
    fn hear(&mut self, id: u64) {
        let Some(stream) = self.asking.remove(&id) else { return };
        match host::asked(&stream) {
            Asked::NotYet => {
                self.asking.insert(id, stream);
            }
            Asked::Port(guest) => {
                self.forget_deadlines(id);
                let ports = self.free_ports(guest);
                self.track(id, Connection::requested(ports, stream), ControlOperation::Modify);
            }
            Asked::Nonsense => self.forget_deadlines(id),
        }
    }

    /// Removes the deadline of a program's request; connections remove their own.
    fn forget_deadlines(&mut self, id: u64) {
        self.deadlines.retain(|(_, other)| *other != id);
    }

    /// Ports that no connection to `guest` uses; there are more ports than connections.
    fn free_ports(&mut self, guest: u32) -> Ports {
        loop {
            let ports = Ports { guest, host: self.next_host_port };
            self.next_host_port = self.next_host_port.checked_add(1).unwrap_or(FIRST_HOST_PORT);
            if !self.by_ports.contains_key(&ports) {
                return ports;
            }
        }
    }

    fn track(&mut self, id: u64, connection: Connection, operation: ControlOperation) {
        let ports = connection.ports;
        let watched = connection.interest().map(|(descriptor, events)| {
            let result = self.watch(operation, descriptor, id, events);
            result.map(|()| events)
        });
        let Some(Ok(events)) = watched else { return self.refuse(ports) };
        self.by_ports.insert(ports, id);
        self.connections.insert(id, Tracked { connection, ready: false, watched: Some(events), deadline: None });
        self.settle(id, Fate::On);
    }

    /// Updates or removes a connection after an event.
    fn settle(&mut self, id: u64, fate: Fate) {
        let Some(tracked) = self.connections.get_mut(&id) else { return };
        if fate != Fate::On {
            return self.remove(id, fate);
        }
        let awaits = tracked.connection.awaits_guest();
        if awaits != tracked.deadline.is_some() {
            if let Some(old) = tracked.deadline.take() {
                self.deadlines.remove(&(old, id));
            }
            if awaits {
                let deadline = Instant::now() + PATIENCE;
                tracked.deadline = Some(deadline);
                self.deadlines.insert((deadline, id));
            }
        }
        if !tracked.ready && tracked.connection.has_output() {
            tracked.ready = true;
            self.ready.push_back(id);
        }
        let Some((descriptor, events)) = tracked.connection.interest() else { return };
        if tracked.watched != Some(events) {
            tracked.watched = Some(events);
            if self.watch(ControlOperation::Modify, descriptor, id, events).is_err() {
                self.remove(id, Fate::Reset);
            }
        }
    }

    fn remove(&mut self, id: u64, fate: Fate) {
        let Some(tracked) = self.connections.remove(&id) else { return };
        if let Some(deadline) = tracked.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        if tracked.ready {
            self.ready.retain(|other| *other != id);
        }
        let ports = tracked.connection.ports;
        if self.by_ports.get(&ports) == Some(&id) {
            self.by_ports.remove(&ports);
        }
        if fate == Fate::Reset {
            self.refuse(ports);
        }
    }

    fn watch(&self, operation: ControlOperation, descriptor: RawFd, id: u64, events: EventSet) -> io::Result<()> {
        self.epoll.ctl(operation, descriptor, EpollEvent::new(events, id))
    }

    /// The time at which to call [`due`](Self::due).
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Ends everything that has timed out.
    pub(super) fn due(&mut self) {
        let now = Instant::now();
        while let Some((deadline, id)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.remove(&(deadline, id));
            if id == LISTENER {
                self.listen_on();
            } else if self.asking.remove(&id).is_none() {
                self.remove(id, Fate::Reset);
            }
        }
    }
}
