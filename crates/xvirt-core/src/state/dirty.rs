//! A set of pages of guest memory.

use std::ops::Range;

use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::memory::PAGE;
use crate::memory::GuestRam;

/// A set of pages, numbered over all ranges of the guest's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirtyPages {
    words: Vec<u64>,
    pages: u64,
}

impl DirtyPages {
    /// No page of a memory of `pages` pages.
    pub(crate) fn none(pages: u64) -> Self {
        Self { words: vec![0; pages.div_ceil(64) as usize], pages }
    }

    /// No page of the memory of `ram`.
    pub(crate) fn none_of(ram: &GuestRam) -> Self {
        Self::none(ram.iter().map(|region| region.len() / PAGE as u64).sum())
    }

    /// The pages of the memory of `ram` whose bit is set in the bitmap of their region.
    pub(crate) fn of_regions(ram: &GuestRam, bitmaps: &[Vec<u64>]) -> Self {
        let (mut pages, mut first) = (Self::none_of(ram), 0);
        for (region, bitmap) in ram.iter().zip(bitmaps) {
            pages.insert_bitmap(first, bitmap);
            first += region.len() / PAGE as u64;
        }
        pages
    }

    /// All pages.
    pub(crate) fn all(pages: u64) -> Self {
        let mut all = Self { words: vec![u64::MAX; pages.div_ceil(64) as usize], pages };
        all.trim();
        all
    }

    /// How many pages the memory has.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Adds a page; others than those of the memory are ignored.
    #[cfg(test)]
    pub(crate) fn insert(&mut self, page: u64) {
        self.insert_range(page..page + 1);
    }

    /// Adds the pages of `range` that are of the memory.
    pub(crate) fn insert_range(&mut self, range: Range<u64>) {
        for page in range.start..range.end.min(self.pages) {
            self.words[(page / 64) as usize] |= 1 << (page % 64);
        }
    }

    /// Adds the pages from `first` on whose bit is set, such as those of a region in the bitmap of KVM.
    fn insert_bitmap(&mut self, first: u64, bitmap: &[u64]) {
        let (start, shift) = ((first / 64) as usize, first % 64);
        for (offset, bits) in bitmap.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            self.add_word(start + offset, bits << shift);
            if shift > 0 {
                self.add_word(start + offset + 1, bits >> (64 - shift));
            }
        }
        self.trim();
    }

    /// Adds the pages of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.insert_bitmap(0, &other.words);
    }

    /// Removes the pages that `other` does not have.
    pub(crate) fn retain(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// How many pages it has.
    pub(crate) fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many bytes its pages have.
    pub(crate) fn bytes(&self) -> u64 {
        self.count() * PAGE as u64
    }

    /// Whether it has a page.
    pub(crate) fn contains(&self, page: u64) -> bool {
        self.words.get((page / 64) as usize).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    /// Its pages in `range` as runs of at most `longest` pages.
    pub(crate) fn runs(&self, range: Range<u64>, longest: u64) -> impl Iterator<Item = Range<u64>> {
        let mut next = range.start;
        std::iter::from_fn(move || {
            let start = self.next(next..range.end)?;
            let limit = range.end.min(start.saturating_add(longest));
            let end = (start + 1..limit).find(|page| !self.contains(*page)).unwrap_or(limit);
            next = end;
            Some(start..end)
        })
    }

    /// The first page in `range` that it has.
    fn next(&self, range: Range<u64>) -> Option<u64> {
        let mut page = range.start;
        while page < range.end {
            let word = self.words.get((page / 64) as usize)? >> (page % 64);
            if word != 0 {
                return Some(page + u64::from(word.trailing_zeros())).filter(|page| *page < range.end);
            }
            page = (page / 64 + 1) * 64;
        }
        None
    }

    fn add_word(&mut self, index: usize, bits: u64) {
        if let Some(word) = self.words.get_mut(index) {
            *word |= bits;
        }
    }

    /// Removes what is beyond the memory.
    fn trim(&mut self) {
        if let Some(last) = self.words.last_mut().filter(|_| !self.pages.is_multiple_of(64)) {
            *last &= (1 << (self.pages % 64)) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use xvirt_testing::random::Random;

    use super::*;

    #[test]
    fn a_set_has_what_was_added_and_nothing_beyond_the_memory() {
        let mut random = Random::new(3);
        for _ in 0..200 {
            let pages = 1 + random.below_u64(300);
            let (mut set, mut expected) = (DirtyPages::none(pages), BTreeSet::new());
            for _ in 0..random.below_u64(20) {
                let (first, bits) = (random.below_u64(320), random.below_u64(u64::MAX));
                set.insert(first);
                set.insert_bitmap(first, &[bits, 1]);
                let bitmap = (0..64).filter(|bit| bits >> bit & 1 == 1).chain([64]).map(|bit| first + bit);
                expected.extend(bitmap.chain([first]).filter(|page| *page < pages));
            }
            let range = random.below_u64(pages)..random.below_u64(pages + 1);
            let runs: Vec<_> = set.runs(range.clone(), 7).collect();
            assert!(runs.iter().all(|run| (1..=7).contains(&(run.end - run.start))));
            let within = expected.iter().copied().filter(|page| range.contains(page));
            assert_eq!(runs.into_iter().flatten().collect::<Vec<_>>(), within.collect::<Vec<_>>());
            assert_eq!(set.count(), expected.len() as u64);
        }
        assert_eq!(DirtyPages::all(70).count(), 70);
    }
}
