//! A set of block numbers, with one bit per block.

use std::fmt;
use std::ops::Range;

/// The number of bits in a word.
const WORD: u64 = u64::BITS as u64;

/// The set of those of `len` blocks that are marked.
#[derive(Clone)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    len: u64,
    count: u64,
}

impl fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitmap({} of {})", self.count, self.len)
    }
}

impl Bitmap {
    /// An empty set of `len` blocks. It reserves `len` bits of memory, which the host provides only as bits are set.
    pub(super) fn new(len: u64) -> Self {
        Self { words: vec![0; len.div_ceil(WORD) as usize], len, count: 0 }
    }

    /// Reads the set that [`to_bytes`](Self::to_bytes) wrote; `None` if the bytes are not a set of `len` blocks.
    pub(super) fn from_bytes(bytes: &[u8], len: u64) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<_> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let beyond = if len.is_multiple_of(WORD) { 0 } else { u64::MAX << (len % WORD) };
        let fits = rest.is_empty() && words.len() as u64 == len.div_ceil(WORD);
        if !fits || words.last().is_some_and(|last| last & beyond != 0) {
            return None;
        }
        let count = words.iter().map(|word| u64::from(word.count_ones())).sum();
        Some(Self { words, len, count })
    }

    /// The set in whole words of 8 bytes, little-endian, lowest bit first.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The total number of blocks.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The number of blocks in the set.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds a range of blocks.
    pub(super) fn add(&mut self, range: Range<u64>) {
        let mut at = range.start;
        let end = range.end.min(self.len);
        while at < end {
            let next = ((at / WORD + 1) * WORD).min(end);
            let mask = u64::MAX >> (WORD - (next - at)) << (at % WORD);
            if let Some(word) = self.words.get_mut((at / WORD) as usize) {
                self.count += u64::from((mask & !*word).count_ones());
                *word |= mask;
            }
            at = next;
        }
    }

    /// Whether the first block of a range is in the set, and the end of the run of blocks for which that is the same.
    pub(super) fn run(&self, range: Range<u64>) -> (bool, u64) {
        let within = self.word(range.start) >> (range.start % WORD) & 1 != 0;
        let same = if within { u64::MAX } else { 0 };
        let mut at = range.start;
        while at < range.end {
            let others = (self.word(at) ^ same) >> (at % WORD);
            if others != 0 {
                at += u64::from(others.trailing_zeros());
                break;
            }
            at = (at / WORD + 1) * WORD;
        }
        (within, at.min(range.end))
    }

    fn word(&self, at: u64) -> u64 {
        self.words.get((at / WORD) as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_counts_agree_with_a_list_of_bits() {
        let mut random = 7u64;
        let mut below = |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % limit
        };
        for len in [1, 63, 64, 65, 200, 1000] {
            let (mut bitmap, mut bits) = (Bitmap::new(len), vec![false; len as usize]);
            for _ in 0..50 {
                let start = below(len);
                let end = (start + below(len / 4 + 2)).min(len);
                bitmap.add(start..end);
                bits[start as usize..end as usize].fill(true);
                assert_eq!(bitmap.count(), bits.iter().filter(|bit| **bit).count() as u64);
                let (from, to) = (below(len), len - below(len));
                if from < to {
                    let range = &bits[from as usize..to as usize];
                    let same = range.iter().take_while(|bit| **bit == range[0]).count() as u64;
                    assert_eq!(bitmap.run(from..to), (range[0], from + same), "{len} {from}..{to}");
                }
            }
            let again = Bitmap::from_bytes(&bitmap.to_bytes(), len).unwrap();
            assert_eq!((again.words, again.count), (bitmap.words, bitmap.count));
        }
    }

    #[test]
    fn bytes_of_another_length_or_with_bits_beyond_it_are_refused() {
        assert!(Bitmap::from_bytes(&[0; 8], 64).is_some());
        assert!(Bitmap::from_bytes(&[0; 8], 65).is_none());
        assert!(Bitmap::from_bytes(&[0; 9], 64).is_none());
        assert!(Bitmap::from_bytes(&[0, 1, 0, 0, 0, 0, 0, 0], 8).is_none());
    }
}
