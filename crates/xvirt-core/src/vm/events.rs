//! What happens to a VM, told to whoever listens.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

pub use crate::disk::IoOperation;
pub use crate::machine::CrashReason;
use crate::sync::lock;
use crate::{Error, Result};

/// How many events wait for a listener before the oldest are dropped.
const CAPACITY: usize = 1024;

/// Something that happened to a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It was started.
    Started,
    /// It was paused.
    Paused,
    /// It was unpaused.
    Unpaused,
    /// It was shut down from outside.
    HardShutdown,
    /// It was reset from outside.
    HardReset,
    /// The guest switched itself off.
    GuestShutdown,
    /// The guest reset itself, and runs again.
    GuestReset,
    /// The guest's kernel says that it panicked. Unless its crash kernel goes on, [`Crashed`](Self::Crashed) follows.
    GuestPanicked {
        /// Whether it has a crash kernel (kdump).
        crash_kernel: bool,
    },
    /// The guest cannot go on. The VM is halted, or [`Restarted`](Self::Restarted) or [`Paused`](Self::Paused) follows, as
    /// its configuration says.
    Crashed(CrashReason),
    /// It was reset after a crash, and runs again.
    Restarted,
    /// A disk was plugged in.
    DiskPlugged {
        /// Its position.
        disk: usize,
    },
    /// A disk is out, because that was asked or because the guest let go of it, and its image is not locked any more.
    DiskUnplugged {
        /// The position it had.
        disk: usize,
    },
    /// A disk has another size.
    DiskResized {
        /// Its position.
        disk: usize,
        /// The new size in bytes.
        size: u64,
    },
    /// A network interface was plugged in.
    NicPlugged {
        /// Its position.
        nic: usize,
    },
    /// A network interface is out, because that was asked or because the guest let go of it.
    NicUnplugged {
        /// The position it had.
        nic: usize,
    },
    /// A disk could not do what the guest asked, and the guest was told so.
    IoError {
        /// The position of the disk, from 0.
        disk: usize,
        /// What was asked.
        operation: IoOperation,
        /// Where, in bytes.
        offset: u64,
        /// How much, in bytes.
        length: u64,
        /// Why it failed.
        reason: String,
    },
    /// A network interface on a socket has lost its peer, and the guest sees the cable unplugged.
    NicDisconnected {
        /// Its position.
        nic: usize,
    },
    /// A network interface on a socket has a peer again.
    NicConnected {
        /// Its position.
        nic: usize,
    },
    /// The listener was slow, and this many events are lost.
    Missed(u64),
}

/// One listener. Each gets all events from its making on, in order. May be used from several threads.
#[derive(Debug)]
pub struct EventReceiver {
    mailbox: Arc<Mailbox>,
}

#[derive(Debug)]
struct Mailbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    event: EventFd,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    missed: u64,
}

impl EventReceiver {
    /// Takes the next event if one waits.
    pub fn try_next(&self) -> Option<Event> {
        self.mailbox.take(&mut lock(&self.mailbox.waiting))
    }

    /// Waits for the next event, at most `timeout`; `None` is that nothing happened.
    pub fn next_timeout(&self, timeout: Duration) -> Option<Event> {
        let began = Instant::now();
        let mut waiting = lock(&self.mailbox.waiting);
        loop {
            if let Some(event) = self.mailbox.take(&mut waiting) {
                return Some(event);
            }
            let left = timeout.checked_sub(began.elapsed()).filter(|left| !left.is_zero())?;
            waiting = self.mailbox.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl AsFd for EventReceiver {
    /// A descriptor that is readable while an event waits, for a program's own event loop. Only poll it: do not read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the mailbox, which lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.mailbox.event.as_raw_fd()) }
    }
}

impl Mailbox {
    fn new() -> io::Result<Self> {
        let event = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)?;
        Ok(Self { waiting: Mutex::default(), arrived: Condvar::new(), event })
    }

    fn put(&self, event: Event) {
        let mut waiting = lock(&self.waiting);
        if waiting.events.len() == CAPACITY {
            waiting.events.pop_front();
            waiting.missed += 1;
        }
        waiting.events.push_back(event);
        // Fails only when the counter is full, and then the descriptor is readable already.
        let _ = self.event.write(1);
        self.arrived.notify_all();
    }

    fn take(&self, waiting: &mut Waiting) -> Option<Event> {
        if waiting.missed > 0 {
            return Some(Event::Missed(std::mem::take(&mut waiting.missed)));
        }
        let event = waiting.events.pop_front();
        if waiting.events.is_empty() {
            // That nothing was to be read is no error.
            let _ = self.event.read();
        }
        event
    }
}

/// The sending side: all listeners of a VM.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    listeners: Arc<Mutex<Vec<Weak<Mailbox>>>>,
}

impl Events {
    pub(super) fn subscribe(&self) -> Result<EventReceiver> {
        let mailbox = Mailbox::new().map_err(|e| Error::io("cannot listen to the VM's events", e))?;
        let mailbox = Arc::new(mailbox);
        lock(&self.listeners).push(Arc::downgrade(&mailbox));
        Ok(EventReceiver { mailbox })
    }

    pub(super) fn send(&self, event: &Event) {
        tracing::debug!(?event, "VM event");
        lock(&self.listeners).retain(|listener| match listener.upgrade() {
            Some(mailbox) => {
                mailbox.put(event.clone());
                true
            }
            None => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(receiver: &EventReceiver) -> bool {
        let mut poll = libc::pollfd { fd: receiver.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd, and no waiting.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    #[test]
    fn every_listener_gets_every_event_in_order() {
        let events = Events::default();
        let (one, two) = (events.subscribe().unwrap(), events.subscribe().unwrap());
        events.send(&Event::Started);
        events.send(&Event::Paused);
        for receiver in [&one, &two] {
            assert!(readable(receiver));
            assert_eq!(receiver.try_next(), Some(Event::Started));
            assert_eq!(receiver.try_next(), Some(Event::Paused));
            assert_eq!(receiver.try_next(), None);
            assert!(!readable(receiver));
        }
    }

    #[test]
    fn a_slow_listener_is_told_what_it_missed() {
        let events = Events::default();
        let receiver = events.subscribe().unwrap();
        for _ in 0..CAPACITY + 3 {
            events.send(&Event::Paused);
        }
        assert_eq!(receiver.try_next(), Some(Event::Missed(3)));
        assert_eq!(std::iter::from_fn(|| receiver.try_next()).count(), CAPACITY);
    }

    #[test]
    fn a_dropped_listener_is_forgotten() {
        let events = Events::default();
        drop(events.subscribe().unwrap());
        events.send(&Event::Started);
        assert!(lock(&events.listeners).is_empty());
    }
}
