//! Listeners, each with a queue of events.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use uuid::Uuid;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{Event, EventRecord};
use crate::process::Process;
use crate::sync::lock;
use crate::wait::Wait;
use crate::{Error, ErrorKind, Result};

/// The number of events queued for a listener before the oldest are dropped.
pub(super) const CAPACITY: usize = 1024;

/// A listener for the events of one VM or of many. It gets all events from [`listen`](Self::listen) on, those of each
/// VM in their order, and then reports that the VMs are gone. May be used from several threads.
pub struct EventReceiver {
    process: Process,
    pub(super) mailbox: Arc<Mailbox>,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    event: EventFd,
}

#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<EventRecord>,
    /// Events that were dropped because the queue was full, by VM: the last one, as [`Event::Missed`].
    missed: BTreeMap<Uuid, EventRecord>,
    /// The number of VMs that send to it.
    vms: usize,
    /// Whether all VMs that sent to it are gone, so that no more events follow.
    over: bool,
}

impl EventReceiver {
    /// Creates a listener that listens to no VM yet.
    ///
    /// # Errors
    /// [`OutOfDescriptors`](ErrorKind::OutOfDescriptors).
    pub fn new() -> Result<Self> {
        let mailbox = Mailbox::new().map_err(|e| Error::io("cannot listen to the events of VMs", e))?;
        Ok(Self { process: Process::current(), mailbox: Arc::new(mailbox) })
    }

    /// Takes the next event; `None` if none is queued.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) once all VMs that it listened to were dropped and all their events were taken.
    pub fn try_next(&self) -> Result<Option<EventRecord>> {
        self.require_process()?;
        self.mailbox.take(&mut lock(&self.mailbox.waiting))
    }

    /// Waits for the next event, at most `timeout`.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if no event came, [`Gone`](ErrorKind::Gone) once all VMs that it listened to
    /// were dropped and all their events were taken.
    pub fn next_timeout(&self, timeout: Duration) -> Result<EventRecord> {
        self.require_process()?;
        let wait = Wait::at_most(timeout);
        let mut waiting = lock(&self.mailbox.waiting);
        loop {
            if let Some(record) = self.mailbox.take(&mut waiting)? {
                return Ok(record);
            }
            let (next, waited) = wait.changed(&self.mailbox.arrived, &self.mailbox.waiting, waiting);
            waiting = next;
            waited.map_err(|ended| {
                let nothing = format!("nothing happened to the VM within {timeout:?}");
                ended.error("an event", || Error::new(ErrorKind::Timeout, nothing))
            })?;
        }
    }

    pub(in crate::vm) fn require_process(&self) -> Result<()> {
        self.process.require("a receiver of a VM's events")
    }
}

impl fmt::Debug for EventReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventReceiver").finish_non_exhaustive()
    }
}

impl AsFd for EventReceiver {
    /// A descriptor that is readable while an event waits or all VMs are gone, for use in the program's own event loop.
    /// Only poll it: do not read from it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the mailbox keeps the descriptor open, and lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.mailbox.event.as_raw_fd()) }
    }
}

impl Mailbox {
    fn new() -> io::Result<Self> {
        let event = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)?;
        Ok(Self { waiting: Mutex::default(), arrived: Condvar::new(), event })
    }

    /// Counts one more sending VM.
    pub(super) fn begin(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.vms += 1;
        waiting.over = false;
    }

    /// Counts one sending VM less.
    pub(super) fn end(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.vms = waiting.vms.saturating_sub(1);
        waiting.over = waiting.vms == 0;
        self.announce();
    }

    pub(super) fn put(&self, record: EventRecord) {
        let mut waiting = lock(&self.waiting);
        if waiting.records.len() == CAPACITY
            && let Some(lost) = waiting.records.pop_front()
        {
            waiting.miss(lost);
        }
        waiting.records.push_back(record);
        self.announce();
    }

    fn announce(&self) {
        // Fails only when the counter is full, and then the descriptor is readable already.
        let _ = self.event.write(1);
        self.arrived.notify_all();
    }

    fn take(&self, waiting: &mut Waiting) -> Result<Option<EventRecord>> {
        if let Some((_, missed)) = waiting.missed.pop_first() {
            return Ok(Some(missed));
        }
        let record = waiting.records.pop_front();
        if record.is_none() && waiting.over {
            return Err(Error::new(ErrorKind::Gone, "nothing more can happen: the VM was dropped"));
        }
        if waiting.records.is_empty() && !waiting.over {
            // Fails if the counter is zero already, which is fine.
            let _ = self.event.read();
        }
        Ok(record)
    }
}

impl Waiting {
    fn miss(&mut self, lost: EventRecord) {
        let count = match self.missed.get(&lost.vm) {
            Some(EventRecord { event: Event::Missed(count), .. }) => count + 1,
            _ => 1,
        };
        self.missed.insert(lost.vm, EventRecord { event: Event::Missed(count), ..lost });
    }
}
