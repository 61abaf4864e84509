//! The decoder's output as a stream of pieces.

use std::fmt;
use std::mem;

use bytes::Bytes;

use crate::Result;

/// Shorter pieces are copied and merged, because each piece has a memory overhead. In bytes.
const SHORTEST: usize = 4 << 10;

/// A stream of bytes that is read once, in order.
pub(crate) struct Stream<'a> {
    next: Box<dyn FnMut() -> Result<Option<Bytes>> + 'a>,
    current: Bytes,
    /// The original length of `current`.
    whole: usize,
    position: u64,
}

impl<'a> Stream<'a> {
    /// A stream of the pieces that `next` returns, until `None`.
    pub(crate) fn new(next: impl FnMut() -> Result<Option<Bytes>> + 'a) -> Self {
        Self { next: Box::new(next), current: Bytes::new(), whole: 0, position: 0 }
    }

    /// A stream of bytes in memory.
    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        let mut bytes = Some(Bytes::from(bytes));
        Self::new(move || Ok(bytes.take()))
    }

    /// The number of bytes read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next piece, of any size; `None` at the end.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Bytes>> {
        if !self.fill()? {
            return Ok(None);
        }
        Ok(Some(self.split(u64::MAX)))
    }

    /// The next `length` bytes, mostly without a copy; `None` if the stream ends first.
    ///
    /// Their memory is bounded by a small multiple of `length`, however small the stream's pieces are: small pieces,
    /// and small parts of larger ones, are copied and merged.
    pub(crate) fn take(&mut self, length: u64) -> Result<Option<Vec<Bytes>>> {
        let (mut pieces, mut copied) = (Vec::new(), Vec::new());
        let mut left = length;
        while left > 0 {
            if !self.fill()? {
                return Ok(None);
            }
            let piece = self.split(left);
            left -= piece.len() as u64;
            if piece.len() < (self.whole / 2).max(SHORTEST) {
                copied.extend_from_slice(&piece);
                continue;
            }
            pieces.extend((!copied.is_empty()).then(|| mem::take(&mut copied).into()));
            pieces.push(piece);
        }
        pieces.extend((!copied.is_empty()).then(|| copied.into()));
        Ok(Some(pieces))
    }

    /// Reads until `into` is full or the stream ends; returns the number of bytes.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < into.len() && self.fill()? {
            let rest = into.get_mut(done..).unwrap_or_default();
            let piece = self.split(rest.len() as u64);
            rest[..piece.len()].copy_from_slice(&piece);
            done += piece.len();
        }
        Ok(done)
    }

    /// Skips `length` bytes; `false` if the stream ends first.
    pub(crate) fn skip(&mut self, length: u64) -> Result<bool> {
        let mut left = length;
        while left > 0 {
            if !self.fill()? {
                return Ok(false);
            }
            left -= self.split(left).len() as u64;
        }
        Ok(true)
    }

    /// Fetches a piece if `current` is empty; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        while self.current.is_empty() {
            match (self.next)()? {
                Some(piece) => {
                    self.whole = piece.len();
                    self.current = piece;
                }
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn split(&mut self, most: u64) -> Bytes {
        let length = most.min(self.current.len() as u64);
        self.position += length;
        self.current.split_to(length as usize)
    }
}

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("position", &self.position).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_and_joined_as_asked() {
        let mut pieces = [&b"abc"[..], b"", b"defgh", b"i"].into_iter();
        let mut stream = Stream::new(move || Ok(pieces.next().map(Bytes::from_static)));
        assert_eq!(stream.take(5).unwrap().unwrap(), ["abcde"]);
        assert!(stream.skip(1).unwrap());
        let mut into = [0; 2];
        assert_eq!((stream.read(&mut into).unwrap(), &into), (2, b"gh"));
        assert_eq!(stream.position(), 8);
        assert_eq!(stream.read(&mut into).unwrap(), 1);
        assert_eq!((stream.read(&mut into).unwrap(), stream.next_piece().unwrap()), (0, None));
        assert!(stream.take(1).unwrap().is_none() && !stream.skip(1).unwrap());
    }

    #[test]
    fn only_pieces_that_are_worth_it_are_kept_as_they_are() {
        let sizes = [1, SHORTEST, 1, 1, 3 * SHORTEST, 1];
        let mut pieces = sizes.into_iter().map(|size| Bytes::from(vec![7; size]));
        let mut stream = Stream::new(move || Ok(pieces.next()));
        let lengths = |pieces: Option<Vec<Bytes>>| pieces.unwrap().iter().map(Bytes::len).collect::<Vec<_>>();
        assert_eq!(lengths(stream.take(SHORTEST as u64 + 2).unwrap()), [1, SHORTEST, 1]);
        // A third of a piece would pin all of it.
        assert_eq!(lengths(stream.take(SHORTEST as u64 + 1).unwrap()), [SHORTEST + 1]);
        assert_eq!(lengths(stream.take(2 * SHORTEST as u64 + 1).unwrap()), [2 * SHORTEST, 1]);
    }
}
