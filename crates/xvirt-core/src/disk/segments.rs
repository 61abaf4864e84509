//! Vectored buffers for system calls.

use crate::memory::GuestSlice;

use std::marker::PhantomData;
use std::ops::Range;

/// The most pieces per call (`IOV_MAX` of Linux).
const MAX_PIECES: usize = 1024;

/// Memory to read into or to write from, of which a part may be consumed.
///
/// Guest memory is never accessed through a reference, because the guest may change it at any time.
#[derive(Debug)]
pub(super) struct Segments<'a> {
    pieces: Vec<libc::iovec>,
    done: usize,
    memory: PhantomData<&'a ()>,
}

impl<'a> Segments<'a> {
    /// Pieces of guest memory.
    pub(super) fn of_guest(slices: &[GuestSlice<'a>]) -> Self {
        let piece = |slice: &GuestSlice<'_>| libc::iovec { iov_base: slice.as_mut_ptr().cast(), iov_len: slice.len() };
        Self::new(slices.iter().filter(|slice| !slice.is_empty()).map(piece).collect())
    }

    /// Memory of this process, to read into or to write from.
    pub(super) fn of_bytes(bytes: &'a mut [u8]) -> Self {
        Self::new(vec![libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }])
    }

    /// Pieces described by another library.
    ///
    /// # Safety
    ///
    /// The memory must stay valid for `'a`: readable if it is only written from, writable if it is read into.
    #[cfg(feature = "qcow2")]
    pub(super) unsafe fn of_iovecs(pieces: &[libc::iovec]) -> Self {
        Self::new(pieces.iter().filter(|piece| piece.iov_len > 0).copied().collect())
    }

    fn new(pieces: Vec<libc::iovec>) -> Self {
        Self { pieces, done: 0, memory: PhantomData }
    }

    /// Whether all bytes are consumed.
    pub(super) fn is_empty(&self) -> bool {
        self.next().iter().all(|piece| piece.iov_len == 0)
    }

    /// The number of bytes left.
    pub(super) fn len(&self) -> u64 {
        self.pieces.get(self.done..).unwrap_or_default().iter().map(|piece| piece.iov_len as u64).sum()
    }

    /// The pieces for the next system call.
    pub(super) fn next(&self) -> &[libc::iovec] {
        let left = self.pieces.get(self.done..).unwrap_or_default();
        left.get(..MAX_PIECES).unwrap_or(left)
    }

    /// Consumes the next `bytes` bytes.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        while let Some(piece) = self.pieces.get_mut(self.done) {
            if bytes < piece.iov_len {
                // Wrapping, because only the kernel dereferences it.
                piece.iov_base = piece.iov_base.wrapping_byte_add(bytes);
                piece.iov_len -= bytes;
                return;
            }
            bytes -= piece.iov_len;
            self.done += 1;
        }
    }

    /// Splits off the next `bytes` bytes and consumes them here.
    #[cfg(feature = "qcow2")]
    pub(super) fn take(&mut self, bytes: u64) -> Self {
        let mut left = bytes;
        let mut head = Vec::new();
        for piece in self.pieces.get(self.done..).unwrap_or_default() {
            if left == 0 {
                break;
            }
            let length = left.min(piece.iov_len as u64);
            head.push(libc::iovec { iov_base: piece.iov_base, iov_len: length as usize });
            left -= length;
        }
        self.advance((bytes - left) as usize);
        Self::new(head)
    }

    /// Copies as much of `bytes` as fits to the start of what is left, and consumes that.
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        self.copy(bytes.len(), |memory, at, count| {
            let Some(from) = bytes.get(at..at + count) else { return };
            // SAFETY: only reads call this, so the memory is writable for 'a; no reference is created.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), memory, count) }
        });
    }

    /// Copies the start of what is left to `bytes`, as far as there is any, and consumes that.
    pub(super) fn copy_to(&mut self, bytes: &mut [u8]) {
        self.copy(bytes.len(), |memory, at, count| {
            let Some(to) = bytes.get_mut(at..at + count) else { return };
            // SAFETY: the memory is readable for 'a; no reference is created.
            unsafe { std::ptr::copy_nonoverlapping(memory, to.as_mut_ptr(), count) }
        });
    }

    /// Calls `each` with the pieces of the next `length` bytes and their offsets.
    fn copy(&mut self, length: usize, mut each: impl FnMut(*mut u8, usize, usize)) {
        let mut at = 0;
        for piece in self.pieces.get(self.done..).unwrap_or_default() {
            let count = piece.iov_len.min(length - at);
            each(piece.iov_base.cast(), at, count);
            at += count;
        }
        self.advance(at);
    }

    /// Whether all remaining pieces start and end at multiples of `alignment`.
    pub(super) fn are_aligned(&self, alignment: usize) -> bool {
        are_aligned(self.pieces.get(self.done..).unwrap_or_default(), alignment)
    }

    /// Fills all remaining memory with zeroes.
    pub(super) fn fill_with_zeroes(&mut self) {
        for piece in self.pieces.get(self.done..).unwrap_or_default() {
            // SAFETY: only reads call this, so the memory is writable for 'a; no reference is created.
            unsafe { std::ptr::write_bytes(piece.iov_base.cast::<u8>(), 0, piece.iov_len) };
        }
        self.done = self.pieces.len();
    }
}

/// Whether all pieces start and end at multiples of `alignment`.
pub(super) fn are_aligned(pieces: &[libc::iovec], alignment: usize) -> bool {
    pieces
        .iter()
        .all(|piece| piece.iov_base.addr().is_multiple_of(alignment) && piece.iov_len.is_multiple_of(alignment))
}

/// The total length of a request's buffers in bytes.
pub(super) fn total(buffers: &[GuestSlice<'_>]) -> u64 {
    buffers.iter().map(|buffer| buffer.len() as u64).sum()
}

/// The part of a request's buffers in a range of its bytes, without empty buffers.
pub(super) fn part<'a>(buffers: &[GuestSlice<'a>], range: Range<u64>) -> Vec<GuestSlice<'a>> {
    let (mut skip, mut left) = (range.start, range.end.saturating_sub(range.start));
    let cut = |buffer: &GuestSlice<'a>| {
        let length = buffer.len() as u64;
        let skipped = skip.min(length);
        let taken = left.min(length - skipped);
        (skip, left) = (skip - skipped, left - taken);
        buffer.part(skipped as usize, taken as usize).filter(|piece| !piece.is_empty())
    };
    buffers.iter().filter_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_over_pieces_and_within_them() {
        let mut memory = [1u8; 64];
        let slice = |from: &mut [u8]| {
            let (pointer, length) = (from.as_mut_ptr(), from.len());
            // SAFETY: the test's array outlives the slices and has no other user.
            unsafe { GuestSlice::new(pointer, length) }
        };
        let (one, rest) = memory.split_at_mut(10);
        let (two, three) = rest.split_at_mut(20);
        let slices = [slice(one), slice(&mut []), slice(two), slice(three)];
        let mut segments = Segments::of_guest(&slices);
        assert_eq!((segments.len(), segments.next().len()), (64, 3));
        segments.advance(10);
        assert_eq!((segments.len(), segments.next().len()), (54, 2));
        segments.advance(25);
        assert_eq!((segments.len(), segments.next().len()), (29, 1));
        segments.fill_with_zeroes();
        assert!(segments.is_empty());
        assert_eq!(memory.iter().filter(|byte| **byte == 0).count(), 29);
        assert_eq!(memory[34..36], [1, 0]);
    }

    #[test]
    fn cuts_a_part_out_of_buffers() {
        let mut memory = [[0u8; 10], [1; 10], [2; 10]];
        let slices: Vec<_> = memory.iter_mut().map(|piece| GuestSlice::from(piece.as_mut_slice())).collect();
        let lengths = |range| part(&slices, range).iter().map(GuestSlice::len).collect::<Vec<_>>();
        assert_eq!(lengths(5..25), [5, 10, 5]);
        assert_eq!(lengths(10..20), [10]);
        assert_eq!(lengths(12..u64::MAX), [8, 10]);
        assert_eq!(lengths(30..40), [0; 0]);
        assert_eq!(total(&slices), 30);
    }

    #[test]
    fn gives_the_kernel_no_more_pieces_than_it_takes() {
        let mut memory = [0u8; 3000];
        // SAFETY: as above.
        let slices: Vec<_> =
            memory.chunks_mut(1).map(|piece| unsafe { GuestSlice::new(piece.as_mut_ptr(), 1) }).collect();
        let mut segments = Segments::of_guest(&slices);
        assert_eq!(segments.next().len(), 1024);
        segments.advance(2900);
        assert_eq!(segments.next().len(), 100);
        assert_eq!(segments.len(), 100);
    }
}
