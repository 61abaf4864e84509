//! The channel of a process, with a fault at one message.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use xvirt_core::migrate::{Channel, Connection, MigrationObserver, MigrationPhase, MigrationReport};

use super::cases::{Case, Fault, Place, Scenario, Side, When, messages};
use super::side::{report, wait_for_order};

/// What each direction of a connection begins with, before the first message.
const PREAMBLE: &[u8] = b"XVMIGRAT";

/// What a side does, and where its fault is. It observes the migration too.
pub struct Plan {
    side: Side,
    case: Option<Case>,
    started: Instant,
    phase: Mutex<Option<MigrationPhase>>,
    /// How many messages of the kind were sent, and how many of them since the guest was stopped.
    sent: AtomicUsize,
    sent_stopped: AtomicUsize,
    done: AtomicBool,
    connections: Mutex<Vec<Arc<dyn Connection>>>,
    commit: u8,
    hello: u8,
}

impl Plan {
    pub fn new(side: Side, case: Option<Case>) -> Arc<Self> {
        let number = |name| messages().iter().find(|message| message.name == name).unwrap().number;
        Arc::new(Self {
            side,
            case,
            started: Instant::now(),
            phase: Mutex::default(),
            sent: AtomicUsize::new(0),
            sent_stopped: AtomicUsize::new(0),
            done: AtomicBool::new(false),
            connections: Mutex::default(),
            commit: number("Commit"),
            hello: number("Hello"),
        })
    }

    fn phase(&self) -> Option<MigrationPhase> {
        *self.phase.lock().unwrap()
    }

    /// The case, if its fault is at this message of `kind`, which is about to be sent.
    fn fault_at(&self, kind: u8) -> Option<&Case> {
        let case = self.case.as_ref().filter(|case| case.sender == self.side && case.message.number == kind)?;
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let stopped = self.phase() != Some(MigrationPhase::Running);
        let number_stopped = self.sent_stopped.fetch_add(usize::from(stopped), Ordering::Relaxed);
        let is_it = match case.when {
            When::Number(wanted) => number == wanted,
            When::Stopped => stopped && number_stopped == 0,
            When::LastRound => stopped && number_stopped == usize::from(case.connections),
        };
        (is_it && !self.done.swap(true, Ordering::Relaxed)).then_some(case)
    }
}

impl MigrationObserver for Plan {
    fn report(&self, now: &MigrationReport) {
        if self.phase.lock().unwrap().replace(now.phase) != Some(now.phase) {
            report(&format!("phase {:?}", now.phase));
        }
    }

    fn cancelled(&self) -> bool {
        let phase = match (self.side, self.case.as_ref().map(|case| case.scenario)) {
            (Side::Source, Some(Scenario::CancelledHere)) => MigrationPhase::Released,
            (Side::Target, Some(Scenario::CancelledThere)) => MigrationPhase::Prepared,
            _ => return false,
        };
        self.phase() == Some(phase)
    }

    fn settings(&self) -> Option<xvirt_core::migrate::Migration> {
        None
    }
}

pub struct FaultyChannel<'a> {
    pub inner: &'a dyn Channel,
    pub plan: Arc<Plan>,
}

impl Channel for FaultyChannel<'_> {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        // A target would wait for another source, for ever, if its own fails before it says who it is.
        let (accepted, case) = (self.plan.connections.lock().unwrap().len(), self.plan.case.as_ref());
        if case.is_some_and(|case| accepted >= usize::from(case.connections)) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let inner: Arc<dyn Connection> = self.inner.connect(limit)?.into();
        self.plan.connections.lock().unwrap().push(Arc::clone(&inner));
        Ok(Box::new(FaultyConnection { inner, plan: Arc::clone(&self.plan), rest: AtomicUsize::new(0) }))
    }
}

struct FaultyConnection {
    inner: Arc<dyn Connection>,
    plan: Arc<Plan>,
    /// How many bytes of the current message are not sent yet.
    rest: AtomicUsize,
}

impl FaultyConnection {
    fn pass(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        match descriptors {
            [] => self.inner.send(bytes),
            _ => self.inner.send_descriptors(bytes, descriptors),
        }
    }

    /// Sends all of a part of a message.
    fn send_all(&self, mut bytes: &[u8], mut descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.pass(bytes, descriptors) {
                Ok(count) => (bytes, descriptors) = (&bytes[count..], &[]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn say_sent(&self, kind: u8) {
        if kind == self.plan.commit {
            report("has committed");
        }
    }

    fn send_with_fault(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>], case: &Case) -> io::Result<usize> {
        let before = match case.place {
            Place::Before => 0,
            Place::Within => bytes.len() / 2,
            Place::After => bytes.len(),
        };
        self.send_all(&bytes[..before], descriptors)?;
        if case.place == Place::After {
            // The process may be killed now.
            self.say_sent(case.message.number);
        }
        report("fault");
        wait_for_order();
        match case.fault {
            Fault::Cut => self.plan.connections.lock().unwrap().iter().for_each(|connection| connection.close()),
            Fault::Lose => return Ok(bytes.len()),
            Fault::Hold => std::thread::sleep(case.silence() * 2),
            Fault::Expire(side) => {
                let end = self.plan.started + case.time_limit(side) + Duration::from_millis(100);
                std::thread::sleep(end.saturating_duration_since(Instant::now()));
            }
            Fault::Kill(_) | Fault::Stop(_) | Fault::Lock | Fault::Hide | Fault::Fill => {}
        }
        match before {
            0 => self.pass(bytes, descriptors),
            _ => self.send_all(&bytes[before..], &[]).map(|()| bytes.len()),
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
        if self.rest.load(Ordering::Relaxed) > 0 {
            let sent = self.pass(bytes, descriptors)?;
            self.rest.fetch_sub(sent, Ordering::Relaxed);
            return Ok(sent);
        }
        let kind = if bytes.starts_with(PREAMBLE) { self.plan.hello } else { bytes[0] };
        if kind == self.plan.commit {
            report("commits");
        }
        let sent = match self.plan.fault_at(kind) {
            Some(case) => self.send_with_fault(bytes, descriptors, case)?,
            None => self.pass(bytes, descriptors)?,
        };
        self.rest.store(bytes.len() - sent, Ordering::Relaxed);
        if sent == bytes.len() {
            self.say_sent(kind);
        }
        Ok(sent)
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
