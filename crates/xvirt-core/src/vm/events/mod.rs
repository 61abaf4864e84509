//! Sends the events of a VM to its listeners.

mod event;
mod receiver;

use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use uuid::Uuid;

use crate::sync::lock;
use crate::thread::caught;

pub use event::{CrashReason, Device, Event, EventRecord, IoOperation};
pub use receiver::EventReceiver;
use receiver::Mailbox;

/// The sending side: all listeners of a VM.
#[derive(Clone, Debug)]
pub(super) struct Events {
    vm: Uuid,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    listeners: Vec<Weak<Mailbox>>,
    /// The number of events so far.
    sequence: u64,
}

impl Events {
    /// The events of a VM.
    pub(super) fn new(vm: Uuid) -> Self {
        Self { vm, shared: Arc::default() }
    }

    /// Sends all events from now on to `receiver`.
    pub(super) fn add(&self, receiver: &EventReceiver) {
        let mut shared = lock(&self.shared);
        receiver.mailbox.begin();
        shared.listeners.push(Arc::downgrade(&receiver.mailbox));
    }

    pub(super) fn send(&self, event: &Event) {
        // This runs in the middle of a change of the VM, which a panicking log subscriber must not interrupt.
        let _ = caught(|| tracing::debug!(?event, "VM event"));
        // Locked until the end, so that all listeners get the same order.
        let mut shared = lock(&self.shared);
        shared.sequence += 1;
        let record =
            EventRecord { vm: self.vm, sequence: shared.sequence, time: SystemTime::now(), event: event.clone() };
        shared.listeners.retain(|listener| match listener.upgrade() {
            Some(mailbox) => {
                mailbox.put(record.clone());
                true
            }
            None => false,
        });
    }

    /// Tells all listeners that no more events follow.
    pub(super) fn end(&self) {
        self.send(&Event::Dropped);
        lock(&self.shared)
            .listeners
            .drain(..)
            .filter_map(|listener| listener.upgrade())
            .for_each(|mailbox| mailbox.end());
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::Duration;

    use super::receiver::CAPACITY;
    use super::*;
    use crate::ErrorKind;

    fn readable(receiver: &EventReceiver) -> bool {
        let mut poll = libc::pollfd { fd: receiver.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd, and a timeout of zero.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    fn events(vm: u128) -> Events {
        Events::new(Uuid::from_u128(vm))
    }

    fn listener(all: &[&Events]) -> EventReceiver {
        let receiver = EventReceiver::new().unwrap();
        all.iter().for_each(|events| events.add(&receiver));
        receiver
    }

    /// The VM, the sequence number and the event.
    fn next(receiver: &EventReceiver) -> Option<(u128, u64, Event)> {
        receiver.try_next().unwrap().map(|record| (record.vm.as_u128(), record.sequence, record.event))
    }

    #[test]
    fn every_listener_gets_every_event_in_order() {
        let events = events(7);
        let (one, two) = (listener(&[&events]), listener(&[&events]));
        events.send(&Event::Started);
        events.send(&Event::Paused);
        for receiver in [&one, &two] {
            assert!(readable(receiver));
            assert_eq!(next(receiver), Some((7, 1, Event::Started)));
            assert_eq!(next(receiver), Some((7, 2, Event::Paused)));
            assert_eq!(next(receiver), None);
            assert!(!readable(receiver));
        }
    }

    #[test]
    fn one_listener_hears_of_many_vms_until_all_are_gone() {
        let (one, two) = (events(1), events(2));
        one.send(&Event::Started);
        let receiver = listener(&[&one, &two]);
        two.send(&Event::Started);
        one.send(&Event::Paused);
        one.end();
        two.send(&Event::Paused);
        let heard: Vec<_> = std::iter::from_fn(|| next(&receiver)).collect();
        let expected = [(2, 1, Event::Started), (1, 2, Event::Paused), (1, 3, Event::Dropped), (2, 2, Event::Paused)];
        assert_eq!(heard, expected);
        two.end();
        assert_eq!(next(&receiver), Some((2, 3, Event::Dropped)));
        assert_eq!(receiver.try_next().unwrap_err().kind(), ErrorKind::Gone);
    }

    #[test]
    fn a_slow_listener_is_told_what_it_missed_of_each_vm() {
        let (one, two) = (events(1), events(2));
        let receiver = listener(&[&one, &two]);
        two.send(&Event::Started);
        for _ in 0..CAPACITY + 3 {
            one.send(&Event::Paused);
        }
        assert_eq!(next(&receiver), Some((1, 3, Event::Missed(3))));
        assert_eq!(next(&receiver), Some((2, 1, Event::Missed(1))));
        let rest: Vec<_> = std::iter::from_fn(|| next(&receiver)).map(|(_, sequence, _)| sequence).collect();
        assert_eq!(rest, (4..=CAPACITY as u64 + 3).collect::<Vec<_>>());
    }

    #[test]
    fn a_vm_that_is_gone_is_told_from_a_quiet_one() {
        let events = events(1);
        let receiver = listener(&[&events]);
        let limit = Duration::from_millis(1);
        assert_eq!(receiver.next_timeout(limit).unwrap_err().kind(), ErrorKind::Timeout);
        events.send(&Event::HardShutdown);
        events.end();
        for event in [Event::HardShutdown, Event::Dropped] {
            assert_eq!(receiver.next_timeout(limit).unwrap().event, event);
        }
        for _ in 0..2 {
            assert!(readable(&receiver), "a poll would block forever");
            assert_eq!(receiver.try_next().unwrap_err().kind(), ErrorKind::Gone);
            assert_eq!(receiver.next_timeout(limit).unwrap_err().kind(), ErrorKind::Gone);
        }
    }

    #[test]
    fn a_dropped_listener_is_forgotten() {
        let events = events(1);
        drop(listener(&[&events]));
        events.send(&Event::Started);
        assert!(lock(&events.shared).listeners.is_empty());
    }
}
