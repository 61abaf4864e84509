//! Data of the guest that a host program has not read yet.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;

/// Bytes for a host program, in order; the granted credit bounds their number.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<u8>,
    /// The socket is full for now.
    pub(super) blocked: bool,
}

impl Outbox {
    /// The number of bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Sends `data` after the waiting bytes, keeps what cannot be sent now, and returns the total number sent.
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

    /// Sends as many waiting bytes as the socket accepts, and returns their number.
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
            // Frees the memory, because most connections never need it again.
            self.waiting = VecDeque::new();
        }
        Ok(done)
    }

    /// Writes once; 0 means that the socket is full.
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
