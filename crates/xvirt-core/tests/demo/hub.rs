//! A network of guests of `Mode::Net` that each send back what they get, and the addresses from which each sends.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::PATIENCE;

/// How long a guest may take to answer before it gets the next frame.
const ANSWER: Duration = Duration::from_millis(100);
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Of experiments; the guest's and the host's announcements are of other types.
const TYPE: [u8; 2] = [0x88, 0xb6];

/// How many frames came from each address.
type Seen = BTreeMap<[u8; 6], u64>;
type Shared = Arc<(Mutex<(Seen, bool)>, Condvar)>;

/// The socket to which the network interfaces of all VMs connect.
pub struct Hub {
    path: PathBuf,
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    pub fn new(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let shared = Shared::default();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for cable in listener.incoming() {
                if of_thread.0.lock().unwrap().1 {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                // It ends when the VM closes the cable.
                std::thread::spawn(move || serve(cable.unwrap(), &shared));
            }
        });
        Self { path: path.to_owned(), shared, thread: Some(thread) }
    }

    /// Forgets the frames until now.
    pub fn clear(&self) {
        self.shared.0.lock().unwrap().0.clear();
    }

    /// Waits until a frame has come from each of these addresses, and returns all from which any came.
    pub fn expect(&self, addresses: &[[u8; 6]]) -> Vec<[u8; 6]> {
        let (began, mut told) = (Instant::now(), self.shared.0.lock().unwrap());
        while !addresses.iter().all(|address| told.0.contains_key(address)) {
            assert!(began.elapsed() < PATIENCE, "no frame from some of {addresses:?}: {:?}", told.0);
            told = self.shared.1.wait_timeout(told, PATIENCE).unwrap().0;
        }
        told.0.keys().copied().collect()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) else { return };
        self.shared.0.lock().unwrap().1 = true;
        drop(UnixStream::connect(&self.path));
        thread.join().unwrap();
    }
}

fn serve(mut cable: UnixStream, (told, changed): &(Mutex<(Seen, bool)>, Condvar)) {
    let frame = [&[0xff; 6][..], &PEER, &TYPE, &[0; 46]].concat();
    let packet = [&(frame.len() as u32).to_be_bytes()[..], &frame].concat();
    let mut received = Vec::new();
    cable.set_read_timeout(Some(ANSWER)).unwrap();
    loop {
        if cable.write_all(&packet).is_err() {
            return;
        }
        let mut bytes = [0; 4096];
        match cable.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => received.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        while let Some(length) = received.first_chunk().map(|length| u32::from_be_bytes(*length) as usize)
            && received.len() >= 4 + length
        {
            let frame: Vec<u8> = received.drain(..4 + length).skip(4).collect();
            if frame.get(12..14) == Some(&TYPE) {
                let from = frame[6..12].try_into().unwrap();
                *told.lock().unwrap().0.entry(from).or_insert(0) += 1;
                changed.notify_all();
            }
        }
    }
}
