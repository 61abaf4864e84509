//! Device threads under filters of system calls.

use std::net::UdpSocket;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex};

use super::testing::{DATA, Piece, Rig};
use super::{Chain, DeviceKind, DeviceState, Handler, Queues, Served, VirtioDevice};
use crate::Result;
use crate::sandbox::Work;

/// A device whose handler tries to reach the network, and remembers what came of it.
#[derive(Debug)]
struct Curious {
    work: Option<Work>,
    errors: Arc<Mutex<Vec<Option<i32>>>>,
}

struct CuriousHandler(Arc<Mutex<Vec<Option<i32>>>>);

impl VirtioDevice for Curious {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Rng
    }

    fn queue_sizes(&self) -> &[u16] {
        &[16]
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, _: usize, _: &mut [u8]) {}

    fn activate(&self, _: u64) -> Result<Box<dyn Handler>> {
        Ok(Box::new(CuriousHandler(self.errors.clone())))
    }

    fn save(&self) -> DeviceState {
        DeviceState::Rng
    }

    fn work(&self) -> Option<Work> {
        self.work
    }
}

impl Handler for CuriousHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        queue.drain(&mut Chain::default(), |_| {
            let error = UdpSocket::bind("127.0.0.1:0").err();
            self.0.lock().unwrap().push(error.and_then(|error| error.raw_os_error()));
            Ok(0)
        })
    }

    fn input(&self) -> Option<RawFd> {
        None
    }

    fn receive(&mut self, _: &mut Queues) -> Served {
        Ok(())
    }
}

/// What the system call of a handler with such work gives.
fn error_of(work: Option<Work>) -> Option<i32> {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let mut rig = Rig::new(Arc::new(Curious { work, errors: errors.clone() }));
    rig.start(0);
    rig.request(0, &[Piece::Write(DATA, 8)]);
    let errors = errors.lock().unwrap();
    assert_eq!(errors.len(), 1);
    errors[0]
}

#[test]
fn a_device_thread_that_asks_for_more_than_its_work_takes_is_refused() {
    assert_eq!(error_of(Some(Work::Memory)), Some(libc::EPERM));
    assert_eq!(error_of(Some(Work::Network)), Some(libc::EPERM));
    assert_eq!(error_of(None), None);
}
