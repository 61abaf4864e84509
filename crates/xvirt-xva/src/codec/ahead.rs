//! Reads the input ahead on another thread.

use std::io::{self, BufRead, Read};
use std::thread::Scope;

use bytes::{Buf, Bytes};
use crossbeam_channel::{Receiver, bounded};

use super::decode::fill;
use crate::pool::Pool;
use crate::thread::spawn_scoped;

/// The size of a piece in bytes: large enough to need few calls, and small enough for a CPU's cache.
const PIECE: usize = 256 << 10;
/// The most pieces that may wait.
const WAITING: usize = 4;

/// An input with a read-ahead thread.
pub(super) struct Ahead {
    pieces: Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Ahead {
    pub(super) fn spawn<'scope>(scope: &'scope Scope<'scope, '_>, mut input: impl Read + Send + 'scope) -> Self {
        let (sender, pieces) = bounded(WAITING);
        spawn_scoped(scope, move || {
            let pool = Pool::new(PIECE);
            loop {
                let mut buffer = pool.take();
                let piece = match fill(&mut input, &mut buffer) {
                    Ok(0) => return,
                    Ok(length) => Ok(pool.share(buffer, length)),
                    Err(error) => Err(error),
                };
                let failed = piece.is_err();
                // The reader may have stopped.
                if sender.send(piece).is_err() || failed {
                    return;
                }
            }
        });
        Self { pieces, current: Bytes::new() }
    }
}

impl Read for Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty()
            && let Ok(piece) = self.pieces.recv()
        {
            self.current = piece?;
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}
