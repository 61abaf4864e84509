//! A channel with a fault at one message.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::migrate::frame::MAGIC;
use crate::migrate::message::Kind;
use crate::migrate::testing::Side;
use crate::migrate::{Channel, Connection, Sockets};
use crate::sync::lock;

/// What happens at a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fault {
    /// All connections break before it is sent.
    CutBefore,
    /// All connections break while it is sent.
    CutWithin,
    /// All connections break after it was sent, so its answer is lost.
    CutAfter,
    /// Only its own connection breaks.
    CutOne,
    /// It never arrives, and the connection stands.
    Lost,
    /// It arrives, but after the time limit.
    Late,
    /// A bit of it changes.
    Damaged,
    /// The process is killed before it sends it.
    KilledBefore,
    /// The process is killed after it has sent it.
    KilledAfter,
}

impl Fault {
    pub(super) const ALL: [Self; 9] = [
        Self::CutBefore,
        Self::CutWithin,
        Self::CutAfter,
        Self::CutOne,
        Self::Lost,
        Self::Late,
        Self::Damaged,
        Self::KilledBefore,
        Self::KilledAfter,
    ];
}

/// The payload of a panic that stands for a killed process.
pub(super) struct Killed;

/// Which message fails, and what was sent.
pub(super) struct Plan {
    /// The sender, the kind, and how many of the same kind come before.
    pub(super) at: Option<(Side, Kind, usize)>,
    pub(super) fault: Fault,
    pub(super) late: Duration,
    pub(super) hit: AtomicBool,
    pub(super) commit_sent: AtomicBool,
    /// How many of each kind each side began to send.
    pub(super) counts: [[AtomicUsize; Kind::ALL.len() + 1]; 2],
    sockets: Mutex<Vec<UnixStream>>,
    layer: Layer,
}

/// Makes the channel of a side of sockets.
pub(super) type Layer = fn(Side, Sockets<UnixStream>) -> Box<dyn Channel>;

/// The sockets as they are.
pub(super) fn plain(_: Side, sockets: Sockets<UnixStream>) -> Box<dyn Channel> {
    Box::new(sockets)
}

impl Plan {
    pub(super) fn new(at: Option<(Side, Kind, usize)>, fault: Fault, late: Duration) -> Arc<Self> {
        Self::over(plain, at, fault, late)
    }

    /// The same over another layer.
    pub(super) fn over(layer: Layer, at: Option<(Side, Kind, usize)>, fault: Fault, late: Duration) -> Arc<Self> {
        Arc::new(Self {
            layer,
            at,
            fault,
            late,
            hit: AtomicBool::new(false),
            commit_sent: AtomicBool::new(false),
            counts: Default::default(),
            sockets: Mutex::default(),
        })
    }

    pub(super) fn count(&self, side: Side, kind: Kind) -> usize {
        self.counts[side as usize][kind as usize].load(Ordering::Relaxed)
    }

    /// Both ends of a channel with `count` connections.
    pub(super) fn channels(self: &Arc<Self>, count: u8) -> (FaultyChannel, FaultyChannel) {
        let (here, there): (Vec<_>, Vec<_>) = (0..count).map(|_| UnixStream::pair().unwrap()).unzip();
        lock(&self.sockets).extend(here.iter().chain(&there).map(|socket| socket.try_clone().unwrap()));
        let channel = |sockets, side| {
            let inner = (self.layer)(side, Sockets::new(sockets).unwrap());
            FaultyChannel { inner, side, plan: self.clone() }
        };
        (channel(here, Side::Source), channel(there, Side::Target))
    }

    fn cut(&self) {
        for socket in lock(&self.sockets).iter() {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

pub(super) struct FaultyChannel {
    inner: Box<dyn Channel>,
    side: Side,
    plan: Arc<Plan>,
}

impl Channel for FaultyChannel {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        let inner = self.inner.connect(limit)?;
        Ok(Box::new(FaultyConnection { inner, side: self.side, plan: self.plan.clone(), rest: AtomicUsize::new(0) }))
    }
}

struct FaultyConnection {
    inner: Box<dyn Connection>,
    side: Side,
    plan: Arc<Plan>,
    /// The bytes of the current frame that are not sent yet.
    rest: AtomicUsize,
}

impl FaultyConnection {
    fn pass(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let sent = self.pass_some(bytes, descriptors);
        self.rest.store(bytes.len() - sent.as_ref().map_or(0, |sent| *sent), Ordering::Relaxed);
        sent
    }

    /// The frame goes on in a socket whose buffer may be full.
    fn pass_all(&self, mut bytes: &[u8], mut descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.pass_some(bytes, descriptors)?..];
            descriptors = &[];
        }
        Ok(())
    }

    fn pass_some(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        match descriptors {
            [] => self.inner.send(bytes),
            _ => self.inner.send_descriptors(bytes, descriptors),
        }
    }
}

impl Connection for FaultyConnection {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send_descriptors(bytes, &[])
    }

    fn passes_descriptors(&self) -> bool {
        self.inner.passes_descriptors()
    }

    fn receive_descriptors(&self, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        self.inner.receive_descriptors(buffer, descriptors)
    }

    fn send_descriptors(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let kind = if bytes.starts_with(&MAGIC) { Some(Kind::Hello) } else { Kind::from_number(bytes[0]) };
        let kind = kind.filter(|_| self.rest.load(Ordering::Relaxed) == 0);
        let Some(kind) = kind else { return self.pass(bytes, descriptors) };
        let number = self.plan.counts[self.side as usize][kind as usize].fetch_add(1, Ordering::Relaxed);
        let commit = || self.plan.commit_sent.fetch_or(kind == Kind::Commit, Ordering::Relaxed);
        if self.plan.at != Some((self.side, kind, number)) {
            commit();
            return self.pass(bytes, descriptors);
        }
        self.plan.hit.store(true, Ordering::Relaxed);
        match self.plan.fault {
            Fault::CutBefore => {
                self.plan.cut();
                self.pass(bytes, descriptors)
            }
            Fault::CutWithin => {
                self.pass_all(&bytes[..bytes.len() / 2], descriptors)?;
                self.plan.cut();
                Err(io::ErrorKind::BrokenPipe.into())
            }
            Fault::CutAfter => {
                commit();
                self.pass_all(bytes, descriptors)?;
                self.plan.cut();
                Ok(bytes.len())
            }
            Fault::CutOne => {
                self.inner.close();
                self.pass(bytes, descriptors)
            }
            Fault::Lost => {
                commit();
                Ok(bytes.len())
            }
            Fault::Late => {
                commit();
                std::thread::sleep(self.plan.late);
                self.pass(bytes, descriptors)
            }
            Fault::Damaged => {
                commit();
                let mut bytes = bytes.to_vec();
                // In the checksum, which precedes the body.
                let at = if kind == Kind::Hello { MAGIC.len() + 4 + 9 } else { 9 };
                bytes[at] ^= 16;
                self.pass_all(&bytes, descriptors)?;
                Ok(bytes.len())
            }
            Fault::KilledBefore => resume_unwind(Box::new(Killed)),
            Fault::KilledAfter => {
                commit();
                self.pass_all(bytes, descriptors)?;
                resume_unwind(Box::new(Killed))
            }
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.receive(buffer)
    }

    fn finish(&self) {
        self.inner.finish();
    }

    fn close(&self) {
        self.inner.close();
    }
}
