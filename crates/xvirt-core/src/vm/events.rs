//! What happens to a VM, told to whoever listens.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

pub use crate::disk::IoOperation;
pub use crate::machine::CrashReason;
use crate::process::Process;
use crate::sync::lock;
use crate::thread::caught;
use crate::{Error, ErrorKind, Result};

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
    /// A device cannot be served for want of something on the host, such as a thread or a network interface that is gone.
    /// Its driver was told so (DEVICE_NEEDS_RESET); it is tried again when the driver resets the device, or at a reboot.
    /// Told once, until the device works.
    DeviceFailed {
        /// Which it is.
        device: Device,
        /// What is wanting.
        reason: String,
    },
    /// The listener was slow, and this many events are lost.
    Missed(u64),
}

/// A device of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Device {
    /// The disk at this position.
    Disk(usize),
    /// The network interface at this position.
    Nic(usize),
    /// The virtio console.
    Console,
    /// The entropy source.
    Rng,
    /// The memory balloon.
    Balloon,
    /// The socket device.
    Vsock,
}

/// One listener. Each gets all events from its making on, in order, and then hears that the VM is gone. May be used from
/// several threads.
pub struct EventReceiver {
    process: Process,
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
    /// The VM is gone: nothing comes any more.
    over: bool,
}

impl EventReceiver {
    /// Takes the next event; `None` is that nothing has happened yet.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) once the VM was dropped and all its events were taken.
    pub fn try_next(&self) -> Result<Option<Event>> {
        self.require_process()?;
        self.mailbox.take(&mut lock(&self.mailbox.waiting))
    }

    /// Waits for the next event, at most `timeout`.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) when nothing happened, [`Gone`](ErrorKind::Gone) once the VM was dropped and all its
    /// events were taken.
    pub fn next_timeout(&self, timeout: Duration) -> Result<Event> {
        self.require_process()?;
        let began = Instant::now();
        let mut waiting = lock(&self.mailbox.waiting);
        loop {
            if let Some(event) = self.mailbox.take(&mut waiting)? {
                return Ok(event);
            }
            let Some(left) = timeout.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
                return Err(Error::new(ErrorKind::Timeout, format!("nothing happened to the VM within {timeout:?}")));
            };
            waiting = self.mailbox.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn require_process(&self) -> Result<()> {
        self.process.require("a receiver of a VM's events")
    }
}

impl fmt::Debug for EventReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventReceiver").finish_non_exhaustive()
    }
}

impl AsFd for EventReceiver {
    /// A descriptor that is readable while an event waits or the VM is gone, for a program's own event loop. Only poll it:
    /// do not read.
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
        self.announce();
    }

    fn end(&self) {
        lock(&self.waiting).over = true;
        self.announce();
    }

    fn announce(&self) {
        // Fails only when the counter is full, and then the descriptor is readable already.
        let _ = self.event.write(1);
        self.arrived.notify_all();
    }

    fn take(&self, waiting: &mut Waiting) -> Result<Option<Event>> {
        if waiting.missed > 0 {
            return Ok(Some(Event::Missed(std::mem::take(&mut waiting.missed))));
        }
        let event = waiting.events.pop_front();
        if event.is_none() && waiting.over {
            return Err(Error::new(ErrorKind::Gone, "the VM is gone: it was dropped"));
        }
        if waiting.events.is_empty() && !waiting.over {
            // That nothing was to be read is no error.
            let _ = self.event.read();
        }
        Ok(event)
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
        Ok(EventReceiver { process: Process::current(), mailbox })
    }

    pub(super) fn send(&self, event: &Event) {
        // In the middle of what changes a VM, which a log subscriber that panics must not leave half done.
        let _ = caught(|| tracing::debug!(?event, "VM event"));
        lock(&self.listeners).retain(|listener| match listener.upgrade() {
            Some(mailbox) => {
                mailbox.put(event.clone());
                true
            }
            None => false,
        });
    }

    /// Tells all listeners that nothing comes any more.
    pub(super) fn end(&self) {
        lock(&self.listeners).iter().filter_map(Weak::upgrade).for_each(|mailbox| mailbox.end());
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
            assert_eq!(receiver.try_next().unwrap(), Some(Event::Started));
            assert_eq!(receiver.try_next().unwrap(), Some(Event::Paused));
            assert_eq!(receiver.try_next().unwrap(), None);
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
        assert_eq!(receiver.try_next().unwrap(), Some(Event::Missed(3)));
        assert_eq!(std::iter::from_fn(|| receiver.try_next().unwrap()).count(), CAPACITY);
    }

    #[test]
    fn a_vm_that_is_gone_is_told_from_a_quiet_one() {
        let events = Events::default();
        let receiver = events.subscribe().unwrap();
        let limit = Duration::from_millis(1);
        assert_eq!(receiver.next_timeout(limit).unwrap_err().kind(), ErrorKind::Timeout);
        events.send(&Event::HardShutdown);
        events.end();
        assert_eq!(receiver.next_timeout(limit).unwrap(), Event::HardShutdown);
        for _ in 0..2 {
            assert!(readable(&receiver), "who polls it would wait for ever");
            assert_eq!(receiver.try_next().unwrap_err().kind(), ErrorKind::Gone);
            assert_eq!(receiver.next_timeout(limit).unwrap_err().kind(), ErrorKind::Gone);
        }
    }

    #[test]
    fn a_dropped_listener_is_forgotten() {
        let events = Events::default();
        drop(events.subscribe().unwrap());
        events.send(&Event::Started);
        assert!(lock(&events.listeners).is_empty());
    }
}
