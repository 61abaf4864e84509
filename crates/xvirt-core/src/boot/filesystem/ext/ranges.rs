//! Parts of a file that are at another place than its block map says.

use std::collections::BTreeMap;

use crate::boot::filesystem::run::Run;

/// Blocks of a file, and where they are; `None` if they read as zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) logical: u64,
    pub(super) count: u64,
    pub(super) physical: Option<u64>,
}

impl Range {
    fn end(&self) -> u64 {
        self.logical + self.count
    }

    /// The part of it inside of a range of the file's blocks.
    fn within(&self, from: u64, to: u64) -> Option<Self> {
        let (start, end) = (self.logical.max(from), self.end().min(to));
        let physical = self.physical.map(|physical| physical.saturating_add(start.saturating_sub(self.logical)));
        (start < end).then(|| Self { logical: start, count: end - start, physical })
    }
}

/// Ranges that do not overlap, by their first block.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, Range>);

impl Ranges {
    /// Adds a range, which replaces what it overlaps.
    pub(super) fn put(&mut self, range: Range) {
        if range.count == 0 {
            return;
        }
        // The one that begins before it, and those that begin in it.
        let before = self.0.range(..range.logical).next_back().map(|(start, _)| *start);
        let inside = self.0.range(range.logical..range.end()).map(|(start, _)| *start);
        for start in before.into_iter().chain(inside).collect::<Vec<_>>() {
            let Some(old) = self.0.remove(&start) else { continue };
            let parts = [old.within(0, range.logical), old.within(range.end(), u64::MAX)];
            self.0.extend(parts.into_iter().flatten().map(|part| (part.logical, part)));
        }
        self.0.insert(range.logical, range);
    }

    /// The number of ranges.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The runs of a file in blocks `from..to` with these ranges instead of what is there in `runs`.
    pub(super) fn over(&self, runs: &[Run], from: u64, to: u64) -> Vec<Run> {
        let mut result = Vec::new();
        let mut push = |Range { logical, count, physical }| {
            result.extend(physical.map(|physical| Run { logical, physical, count }));
        };
        let before = self.0.range(..from).next_back();
        let mut newer =
            before.into_iter().chain(self.0.range(from..to)).filter_map(|(_, range)| range.within(from, to));
        let mut next = newer.next();
        for run in runs {
            let old = Range { logical: run.logical, count: run.count, physical: Some(run.physical) };
            let mut at = old.logical;
            // Ranges before the end of this run, and what is left of it between them.
            while let Some(range) = next.filter(|range| range.logical < old.end()) {
                if let Some(part) = old.within(at, range.logical) {
                    push(part);
                }
                if range.end() > old.end() {
                    // It continues in the next run, or after it.
                    if let Some(part) = range.within(0, old.end()) {
                        push(part);
                    }
                    next = range.within(old.end(), u64::MAX);
                    at = old.end();
                    break;
                }
                push(range);
                at = at.max(range.end());
                next = newer.next();
            }
            if let Some(part) = old.within(at, old.end()) {
                push(part);
            }
        }
        next.into_iter().chain(newer).for_each(push);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::testing::Random;

    /// The place of each block, as a model.
    fn places(runs: &[Run], from: u64, to: u64) -> Vec<Option<u64>> {
        let place = |block: u64| {
            let run = runs.iter().find(|run| (run.logical..run.logical + run.count).contains(&block))?;
            Some(run.physical + block - run.logical)
        };
        (from..to).map(place).collect()
    }

    #[test]
    fn newer_ranges_replace_older_ones_and_the_map() {
        let mut random = Random::new(7);
        for _ in 0..2000 {
            let (mut runs, mut at) = (Vec::new(), 0);
            while at < 40 {
                let count = 1 + random.below(6) as u64;
                if random.below(3) > 0 {
                    runs.push(Run { logical: at, physical: 1000 + at * 2, count });
                }
                at += count;
            }
            let (from, to) = (random.below(10) as u64, 30 + random.below(20) as u64);
            // As a file's block map gives them: what overlaps the range, cut at its end.
            runs.retain(|run| run.logical + run.count > from && run.logical < to);
            runs.iter_mut().for_each(|run| run.count = run.count.min(to - run.logical));
            let mut model = places(&runs, from, to);
            let mut ranges = Ranges::default();
            for number in 0..random.below(8) as u64 {
                let (logical, count) = (random.below(50) as u64, random.below(12) as u64);
                let physical = (random.below(3) > 0).then_some(5000 + number * 100);
                ranges.put(Range { logical, count, physical });
                for block in logical.max(from)..(logical + count).min(to) {
                    model[(block - from) as usize] = physical.map(|physical| physical + block - logical);
                }
            }
            let found = ranges.over(&runs, from, to);
            assert_eq!(places(&found, from, to), model, "{runs:?} {ranges:?} {from}..{to}");
            assert!(found.windows(2).all(|pair| pair[0].logical + pair[0].count <= pair[1].logical), "{found:?}");
        }
    }
}
