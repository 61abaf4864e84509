//! Requests that stay in flight between calls of a handler.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::device::Device;
use crate::thread::Panicked;
use crate::virtio::testing::{Bare, DATA, Piece, Rig, wait};
use crate::virtio::{Chain, Handler, Queues, Served};

/// Keeps each request in flight for a time, and counts the requests it has taken.
struct Slow {
    delay: Duration,
    taken: Arc<AtomicUsize>,
    in_flight: Vec<(u16, Instant)>,
}

impl Slow {
    fn finish(&mut self, queues: &mut Queues, done: impl Fn(Instant) -> bool) -> Served {
        let Some(queue) = queues.get(0) else { return Ok(()) };
        while let Some((head, _)) = self.in_flight.first().copied().filter(|(_, at)| done(*at)) {
            self.in_flight.remove(0);
            queue.push(head, 7)?;
        }
        queue.signal()
    }
}

impl Handler for Slow {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        let mut chain = Chain::default();
        while queue.pop(&mut chain)? {
            self.in_flight.push((chain.head(), Instant::now() + self.delay));
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn input(&self) -> Option<RawFd> {
        None
    }

    fn receive(&mut self, _: &mut Queues) -> Served {
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.in_flight.first().map(|(_, at)| *at)
    }

    fn due(&mut self, queues: &mut Queues) -> Served {
        let now = Instant::now();
        self.finish(queues, |at| at <= now)
    }

    fn settle(&mut self, queues: &mut Queues) -> Served {
        self.finish(queues, |_| true)
    }
}

fn rig(delay: Duration) -> (Rig, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let handler = move || Box::new(Slow { delay, taken: counter.clone(), in_flight: Vec::new() }) as _;
    let mut rig = Rig::new(Arc::new(Bare { work: None, handler }));
    rig.start(0);
    (rig, taken)
}

/// A device with a request in flight that would take an hour.
fn busy() -> Rig {
    let (mut rig, taken) = rig(Duration::from_secs(3600));
    rig.post(0, &[Piece::Write(DATA, 8)]);
    rig.kick(0);
    wait("the request to be taken", || taken.load(Ordering::SeqCst) == 1);
    assert_eq!(rig.used_index(0), 0);
    rig
}

#[test]
fn a_handler_is_called_when_its_moment_comes() {
    let (mut rig, _) = rig(Duration::from_millis(20));
    let began = Instant::now();
    assert_eq!(rig.request(0, &[Piece::Write(DATA, 8)]), 7);
    assert!(began.elapsed() >= Duration::from_millis(20));
}

#[test]
fn pausing_brings_requests_in_flight_to_their_end() {
    let rig = busy();
    rig.pci.pause();
    assert_eq!(rig.used_index(0), 1);
}

#[test]
fn a_reset_brings_requests_in_flight_to_their_end() {
    let rig = busy();
    rig.set_status(0);
    assert_eq!(rig.used_index(0), 1);
}

/// Panics at its first request.
struct Panicking;

impl Handler for Panicking {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        queue.drain(&mut Chain::default(), |_| panic!("a request of queue {index}"))
    }

    fn input(&self) -> Option<RawFd> {
        None
    }

    fn receive(&mut self, _: &mut Queues) -> Served {
        Ok(())
    }
}

#[test]
fn a_panic_is_told_to_the_machine_and_nobody_waits_for_the_worker() {
    let mut rig = Rig::new(Arc::new(Bare { work: None, handler: || Box::new(Panicking) as _ }));
    for count in 1..=2 {
        rig.start(0);
        rig.post(0, &[Piece::Write(DATA, 8)]);
        rig.kick(0);
        wait("the panic to be told", || rig.host.panics().len() == count);
        rig.pci.pause();
        rig.pci.resume();
    }
    let panic = Panicked { thread: rig.pci.kind().name().to_owned(), message: "a request of queue 0".to_owned() };
    assert_eq!(rig.host.panics(), [panic.clone(), panic]);
}
