//! A network with nothing but a peer that sends frames to a guest of `Mode::Net` and compares what comes back.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use xvirt_testing::random::Random;

use crate::support::PATIENCE;

/// How long an answer may take before the next frame is sent. Frames are lost while a VM is suspended.
const ANSWER: Duration = Duration::from_millis(50);
const HEADER: usize = 14;
/// Of experiments; the guest's and the host's announcements are of other types.
const TYPE: [u8; 2] = [0x88, 0xb6];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The frame of this number, between these addresses.
fn frame(number: u64, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let mut random = Random::new(number);
    let length = 46 + random.below(1400);
    let mut frame = [&to[..], &from, &TYPE, &number.to_be_bytes()].concat();
    frame.resize_with(HEADER + length, || random.byte());
    frame
}

#[derive(Debug, Default)]
struct Told {
    sent: u64,
    /// The highest number that came back.
    answered: u64,
    wrong: Option<String>,
    over: bool,
}

/// The socket that a VM's network interface connects to, and the thread behind it.
pub struct Switch {
    path: PathBuf,
    told: Arc<(Mutex<Told>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    pub fn new(path: &Path) -> Self {
        Self::after(0, path)
    }

    /// Goes on for a guest that may still send back frames up to this number.
    pub fn after(sent: u64, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let told = Arc::new((Mutex::new(Told { sent, ..Told::default() }), Condvar::new()));
        let shared = Arc::clone(&told);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if shared.0.lock().unwrap().over {
                    return;
                }
                // It ends when the VM closes it.
                let _ = serve(connection.unwrap(), &shared);
            }
        });
        Self { path: path.to_owned(), told, thread: Some(thread) }
    }

    /// Waits until the guest has sent back a frame that it gets from now on.
    pub fn expect_answer(&self) {
        let (began, mut told) = (Instant::now(), self.told.0.lock().unwrap());
        let sent = told.sent;
        while told.answered <= sent {
            assert!(told.wrong.is_none(), "{told:?}");
            assert!(began.elapsed() < PATIENCE, "no frame comes back: {told:?}");
            told = self.told.1.wait_timeout(told, PATIENCE).unwrap().0;
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // After a panic of the test, the VM may still be connected.
        let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) else { return };
        self.told.0.lock().unwrap().over = true;
        drop(UnixStream::connect(&self.path));
        thread.join().unwrap();
        let told = self.told.0.lock().unwrap();
        assert!(told.wrong.is_none(), "{told:?}");
    }
}

fn serve(mut cable: UnixStream, (told, changed): &(Mutex<Told>, Condvar)) -> io::Result<()> {
    let mut received = Vec::new();
    loop {
        let number = {
            let mut told = told.lock().unwrap();
            told.sent += 1;
            told.sent
        };
        let frame = frame(number, GUEST, PEER);
        cable.write_all(&[&(frame.len() as u32).to_be_bytes()[..], &frame].concat())?;
        let deadline = Instant::now() + ANSWER;
        while told.lock().unwrap().answered < number {
            if !read(&mut cable, &mut received, deadline)? {
                break;
            }
            while let Some(frame) = take(&mut received) {
                judge(&frame, &mut told.lock().unwrap());
                changed.notify_all();
            }
        }
    }
}

/// Reads some bytes; `false` if there are none until `deadline`.
fn read(cable: &mut UnixStream, received: &mut Vec<u8>, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(false);
    }
    cable.set_read_timeout(Some(left))?;
    let mut bytes = [0; 4096];
    match cable.read(&mut bytes) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            received.extend_from_slice(&bytes[..count]);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes a whole frame.
fn take(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(*received.first_chunk()?) as usize;
    if received.len() < 4 + length {
        return None;
    }
    Some(received.drain(..4 + length).skip(4).collect())
}

/// A frame that comes back must be as it was sent. After a VM went back in time, it may send an old one again.
fn judge(bytes: &[u8], told: &mut Told) {
    if bytes.get(12..HEADER) != Some(&TYPE) {
        return;
    }
    let number = bytes[HEADER..].first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
    if number == 0 || number > told.sent || bytes != frame(number, PEER, GUEST) {
        told.wrong.get_or_insert_with(|| format!("this came back: {bytes:02x?}"));
    }
    told.answered = told.answered.max(number);
}
