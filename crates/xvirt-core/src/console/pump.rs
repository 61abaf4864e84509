//! Copies bytes between a console and descriptors: one thread serves any number of peers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with, send};

use super::reader::ConsoleReader;
use super::shared::{Shared, Watcher};
use crate::{ErrorKind, Result};

/// Further clients wait in the listener's queue until one leaves.
const MAX_PEERS: usize = 32;

/// How often one peer is read before the others have their turn: enough for all that its descriptor holds.
const READS: usize = 128;

/// How long to ignore a waiting client when the process is out of descriptors.
const ACCEPT_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The peers of one attachment, and the listener for new ones.
#[derive(Debug)]
pub(super) struct Pump {
    shared: Arc<Shared>,
    watcher: Arc<Watcher>,
    /// The value of `Shared::boot` up to which all earlier input was read.
    boot: u64,
    stop: Arc<AtomicBool>,
    listener: Option<OwnedFd>,
    peers: Vec<Peer>,
    scratch: Vec<u8>,
}

impl Pump {
    /// Serves one descriptor that is not a socket, such as the master of a pty.
    pub(super) fn over(shared: &Arc<Shared>, fd: Arc<OwnedFd>) -> Result<Self> {
        let mut pump = Self::new(shared)?;
        pump.peers.push(Peer::new(shared, Line::File(fd)));
        Ok(pump)
    }

    /// Serves the peer of `socket`, which must be non-blocking.
    pub(super) fn connected(shared: &Arc<Shared>, socket: OwnedFd) -> Result<Self> {
        let mut pump = Self::new(shared)?;
        pump.peers.push(Peer::new(shared, Line::Socket(socket)));
        Ok(pump)
    }

    /// Serves all clients of `listener`, which must be non-blocking.
    pub(super) fn listening(shared: &Arc<Shared>, listener: OwnedFd) -> Result<Self> {
        let mut pump = Self::new(shared)?;
        pump.listener = Some(listener);
        Ok(pump)
    }

    fn new(shared: &Arc<Shared>) -> Result<Self> {
        let watcher = shared.watch()?;
        Ok(Self {
            boot: shared.attach(&watcher)?,
            shared: Arc::clone(shared),
            watcher,
            stop: Arc::default(),
            listener: None,
            peers: Vec::new(),
            scratch: vec![0; 4096],
        })
    }

    /// The parts needed to stop the pump from another thread: set the flag, then raise the watcher.
    pub(super) fn controls(&self) -> (Arc<Shared>, Arc<Watcher>, Arc<AtomicBool>) {
        (Arc::clone(&self.shared), Arc::clone(&self.watcher), Arc::clone(&self.stop))
    }

    /// Runs until stopped, or until the console is closed and all peers have received the rest of its output.
    pub(super) fn run(&mut self) {
        loop {
            // Cleared before looking, so that any later change raises it again.
            let (closed, boot) = {
                let Ok(state) = self.shared.lock() else { return };
                self.watcher.clear();
                (state.closed, state.boot)
            };
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let starved = self.accept();
            if closed {
                self.listener = None;
            }
            for peer in &mut self.peers {
                peer.serve(&self.shared, &self.watcher, boot, &mut self.scratch);
            }
            if self.boot != boot {
                self.boot = boot;
                self.shared.has_read(&self.watcher, boot);
            }
            self.peers.retain(|peer| peer.writable || peer.readable);
            if self.peers.is_empty() && self.listener.is_none() {
                return;
            }
            if self.wait(starved).is_err() {
                return;
            }
        }
    }

    /// Accepts waiting clients; returns whether the process ran out of descriptors.
    fn accept(&mut self) -> bool {
        let Some(listener) = &self.listener else { return false };
        while self.peers.len() < MAX_PEERS {
            match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => self.peers.push(Peer::new(&self.shared, Line::Socket(fd))),
                Err(Errno::AGAIN) => return false,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => return true,
            }
        }
        false
    }

    fn wait(&mut self, starved: bool) -> rustix::io::Result<()> {
        let mut fds = vec![PollFd::new(&self.watcher, PollFlags::IN)];
        // poll would report a peer that hung up immediately each time. Such a peer only waits for room for its last
        // input.
        fds.extend(
            self.peers
                .iter()
                .filter(|peer| peer.writable)
                .map(|peer| PollFd::from_borrowed_fd(peer.fd(), peer.interest())),
        );
        let peers_end = fds.len();
        if let Some(listener) = &self.listener
            && !starved
            && self.peers.len() < MAX_PEERS
        {
            fds.push(PollFd::new(listener, PollFlags::IN));
        }
        match poll(&mut fds, starved.then_some(&ACCEPT_PAUSE)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        let hung_up: Vec<bool> = fds[1..peers_end].iter().map(|fd| fd.revents().intersects(gone)).collect();
        for (peer, hung_up) in self.peers.iter_mut().filter(|peer| peer.writable).zip(hung_up) {
            peer.writable = !hung_up;
        }
        Ok(())
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.detach(&self.watcher);
    }
}

#[derive(Debug)]
enum Line {
    File(Arc<OwnedFd>),
    Socket(OwnedFd),
}

/// The other end of a descriptor, which receives the output and sends input.
#[derive(Debug)]
struct Peer {
    line: Line,
    reader: ConsoleReader,
    /// A notice about lost output, to be sent before more output.
    notice: Vec<u8>,
    reported: u64,
    /// Input that the console has not accepted yet.
    typed: Vec<u8>,
    /// The value of `Shared::boot` when that input was read.
    boot: u64,
    /// Whether the descriptor is full.
    blocked: bool,
    readable: bool,
    writable: bool,
}

impl Peer {
    fn new(shared: &Arc<Shared>, line: Line) -> Self {
        Self {
            line,
            reader: ConsoleReader::new(Arc::clone(shared), 0),
            notice: Vec::new(),
            reported: 0,
            typed: Vec::new(),
            boot: 0,
            blocked: false,
            readable: true,
            writable: true,
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.line {
            Line::File(fd) => fd.as_fd(),
            Line::Socket(fd) => fd.as_fd(),
        }
    }

    fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.readable && self.typed.is_empty());
        flags.set(PollFlags::OUT, self.blocked);
        flags
    }

    /// Copies what can be copied without waiting. A peer that is neither readable nor writable is finished.
    fn serve(&mut self, shared: &Shared, watcher: &Watcher, boot: u64, scratch: &mut [u8]) {
        for _ in 0..READS {
            if !self.readable || !self.receive(shared, watcher, boot, scratch) {
                break;
            }
        }
        self.blocked = false;
        while self.writable && !self.blocked && self.send(scratch) {}
    }

    /// Passes input to the console; returns whether there may be more.
    fn receive(&mut self, shared: &Shared, watcher: &Watcher, boot: u64, scratch: &mut [u8]) -> bool {
        if self.typed.is_empty() {
            self.boot = boot;
            match rustix::io::read(self.fd(), &mut *scratch) {
                Ok(0) => self.readable = false,
                Ok(n) => self.typed.extend_from_slice(&scratch[..n]),
                Err(Errno::AGAIN) => return false,
                Err(Errno::INTR) => return true,
                Err(_) => (self.readable, self.writable) = (false, false),
            }
        }
        match shared.try_input(&self.typed, self.boot, Some(watcher)) {
            Ok(n) => {
                self.typed.drain(..n);
            }
            // The guest that the input was for is gone. Once the console is closed there will be no other, and only
            // output is left to deliver.
            Err(error) => {
                self.typed.clear();
                self.readable = error.kind() != ErrorKind::Gone;
            }
        }
        self.typed.is_empty()
    }

    /// Sends some output; returns whether there may be more.
    fn send(&mut self, scratch: &mut [u8]) -> bool {
        if !self.notice.is_empty() {
            let sent = self.write(&self.notice);
            self.notice.drain(..sent.unwrap_or(0));
            return self.note(sent) && self.notice.is_empty();
        }
        match self.reader.try_read(scratch) {
            None => false,
            Some(0) => {
                self.writable = false;
                self.readable = false;
                false
            }
            Some(n) => {
                let lost = self.reader.skipped() - self.reported;
                if lost > 0 {
                    self.reported += lost;
                    self.reader.unread(n);
                    self.notice = format!("\r\n[{lost} bytes of console output were lost here]\r\n").into_bytes();
                    return true;
                }
                let sent = self.write(&scratch[..n]);
                self.reader.unread(n - sent.unwrap_or(0));
                self.note(sent)
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        match &self.line {
            Line::File(fd) => rustix::io::write(fd, bytes),
            // The program that uses this library may not ignore SIGPIPE.
            Line::Socket(fd) => send(fd, bytes, SendFlags::NOSIGNAL),
        }
    }

    fn note(&mut self, sent: rustix::io::Result<usize>) -> bool {
        match sent {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => self.blocked = true,
            Err(_) => self.writable = false,
        }
        self.writable && !self.blocked
    }
}
