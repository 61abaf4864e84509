//! Device threads under seccomp filters.

use std::net::UdpSocket;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex};

use crate::sandbox::Work;
use crate::virtio::testing::{Bare, DATA, Piece, Rig};
use crate::virtio::{Chain, Handler, Queues, Served};

/// A device that tries to open a socket and records the result.
struct Curious(Arc<Mutex<Vec<Option<i32>>>>);

impl Handler for Curious {
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

/// The error of the system call in a handler with this `work`.
fn error_of(work: Option<Work>) -> Option<i32> {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let tried = errors.clone();
    let mut rig = Rig::new(Arc::new(Bare { work, handler: move || Box::new(Curious(tried.clone())) as _ }));
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
