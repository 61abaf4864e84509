//! A network of guests of `Mode::Net` that each send back what they get, and the addresses from which each sends.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::PATIENCE;

/// How long a guest may take to answer before it gets the next frame.
const ANSWER: Duration = Duration::from_millis(100);
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Of experiments; the guest's and the host's announcements are of other types.
const TYPE: [u8; 2] = [0x88, 0xb6];

#[derive(Default)]
struct Told {
    /// The addresses from which frames came.
    seen: BTreeSet<[u8; 6]>,
    /// How often everything was forgotten.
    times: u64,
    over: bool,
}

type Shared = Arc<(Mutex<Told>, Condvar)>;

/// The socket to which the network interfaces of all VMs connect, and the thread that serves all of them.
pub struct Hub {
    path: PathBuf,
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    pub fn new(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Shared::default();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&listener, &of_thread));
        Self { path: path.to_owned(), shared, thread: Some(thread) }
    }

    /// Forgets the frames until now, and asks all guests again.
    pub fn clear(&self) {
        let mut told = self.shared.0.lock().unwrap();
        told.seen.clear();
        told.times += 1;
    }

    /// Waits until a frame has come from each of these addresses, and returns all from which any came.
    pub fn expect(&self, addresses: &[[u8; 6]]) -> Vec<[u8; 6]> {
        let (mut began, mut told) = (Instant::now(), self.shared.0.lock().unwrap());
        let mut before = None;
        while !addresses.iter().all(|address| told.seen.contains(address)) {
            if began.elapsed() >= PATIENCE {
                // As long as some answer, the host is busy; and this process may have been stopped for long.
                assert!(before != Some(told.seen.len()), "no frame from some of {addresses:02x?}: {:02x?}", told.seen);
                (began, before) = (Instant::now(), Some(told.seen.len()));
            }
            told = self.shared.1.wait_timeout(told, PATIENCE).unwrap().0;
        }
        told.seen.iter().copied().collect()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) else { return };
        self.shared.0.lock().unwrap().over = true;
        drop(UnixStream::connect(&self.path));
        thread.join().unwrap();
    }
}

/// A network interface.
struct Cable {
    stream: UnixStream,
    received: Vec<u8>,
    /// When the last frame was sent to it.
    asked: Option<Instant>,
    /// Up to which time of forgetting it has answered.
    answered: Option<u64>,
}

fn serve(listener: &UnixListener, (told, changed): &(Mutex<Told>, Condvar)) {
    let frame = [&[0xff; 6][..], &PEER, &TYPE, &[0; 46]].concat();
    let packet = [&(frame.len() as u32).to_be_bytes()[..], &frame].concat();
    let mut cables: Vec<Cable> = Vec::new();
    loop {
        let watched = [listener.as_fd()].into_iter().chain(cables.iter().map(|cable| cable.stream.as_fd()));
        let mut watched: Vec<_> = watched.map(|watched| PollFd::from_borrowed_fd(watched, PollFlags::IN)).collect();
        poll(&mut watched, Some(&Timespec::try_from(ANSWER).unwrap())).unwrap();
        let ready: Vec<_> = watched[1..].iter().map(|watched| !watched.revents().is_empty()).collect();
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            cables.push(Cable { stream, received: Vec::new(), asked: None, answered: None });
        }
        let mut told = told.lock().unwrap();
        if told.over {
            return;
        }
        let times = told.times;
        let mut ready = ready.into_iter();
        // One that the VM has closed goes.
        cables.retain_mut(|cable| {
            let there = !ready.next().unwrap_or(false) || cable.receive(&mut told);
            there && cable.ask(&packet, times)
        });
        changed.notify_all();
    }
}

impl Cable {
    /// Takes what has come; `false` if the cable is closed.
    fn receive(&mut self, told: &mut Told) -> bool {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        while let Some(length) = self.received.first_chunk().map(|length| u32::from_be_bytes(*length) as usize)
            && self.received.len() >= 4 + length
        {
            let frame: Vec<u8> = self.received.drain(..4 + length).skip(4).collect();
            if frame.get(12..14) == Some(&TYPE) {
                told.seen.insert(frame[6..12].try_into().unwrap());
                self.answered = Some(told.times);
            }
        }
        true
    }

    /// Sends a frame if the guest has not answered for long enough; `false` if the cable is closed.
    fn ask(&mut self, packet: &[u8], times: u64) -> bool {
        if self.answered == Some(times) || self.asked.is_some_and(|asked| asked.elapsed() < ANSWER) {
            return true;
        }
        self.asked = Some(Instant::now());
        match self.stream.write(packet) {
            Ok(count) => count == packet.len(),
            // The VM is paused, and takes nothing.
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}
