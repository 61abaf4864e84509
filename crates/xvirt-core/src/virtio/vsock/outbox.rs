//! What a guest sent and a host program has not read yet.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;

/// Bytes on their way to a host program, in order, and no more of them than were granted.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<u8>,
    /// The program takes no more for now.
    pub(super) blocked: bool,
}

impl Outbox {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Sends `data` behind what waits, keeps what cannot be sent now, and returns how much was sent in all.
    pub(super) fn send(&mut self, stream: &UnixStream, data: &[u8]) -> io::Result<usize> {
        let before = self.flush(stream)?;
        let mut now = 0;
        while self.waiting.is_empty() && now < data.len() {
            match self.write(stream, &data[now..])? {
                0 => break,
                count => now += count,
            }
        }
        self.waiting.extend(&data[now..]);
        Ok(before + now)
    }

    /// Sends what waits, as much as the program takes, and returns how much that was.
    pub(super) fn flush(&mut self, stream: &UnixStream) -> io::Result<usize> {
        let mut done = 0;
        while !self.waiting.is_empty() && !self.blocked {
            let mut waiting = std::mem::take(&mut self.waiting);
            let written = self.write(stream, waiting.as_slices().0);
            if let Ok(count) = written {
                waiting.drain(..count);
            }
            self.waiting = waiting;
            done += written?;
        }
        if self.waiting.is_empty() {
            // Most connections never need it again.
            self.waiting = VecDeque::new();
        }
        Ok(done)
    }

    /// One write; 0 is that the program takes no more for now.
    fn write(&mut self, mut stream: &UnixStream, data: &[u8]) -> io::Result<usize> {
        if self.blocked {
            return Ok(0);
        }
        loop {
            match stream.write(data) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(0);
                }
                other => return other,
            }
        }
    }
}
