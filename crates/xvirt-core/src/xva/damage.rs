//! What is not whole of the disks of an archive.

use std::collections::BTreeMap;
use std::ops::Range;

/// The most ranges that are told one by one.
const MAX_RANGES: usize = 1000;

/// The damaged ranges of disks.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// By disk and start: the end, and the first reason.
    ranges: BTreeMap<(usize, u64), (u64, String)>,
    more: u64,
}

impl Damage {
    /// Adds a range, and joins it to those that it touches.
    pub(super) fn add(&mut self, disk: usize, range: Range<u64>, why: String) {
        let (mut start, mut end, mut why) = (range.start, range.end, why);
        if let Some(((_, before), (reached, first))) = self.ranges.range((disk, 0)..=(disk, start)).next_back()
            && *reached >= start
        {
            (start, end, why) = (*before, end.max(*reached), first.clone());
        }
        while let Some((&key, &(reached, _))) = self.ranges.range((disk, start + 1)..=(disk, end)).next() {
            end = end.max(reached);
            self.ranges.remove(&key);
        }
        if self.ranges.len() >= MAX_RANGES && !self.ranges.contains_key(&(disk, start)) {
            self.more += 1;
            return;
        }
        self.ranges.insert((disk, start), (end, why));
    }

    /// One line for each range; `label` names a disk.
    pub(super) fn lines(self, label: impl Fn(usize) -> String) -> Vec<String> {
        let line = |((disk, start), (end, why)): (_, (u64, String))| {
            format!("{}: bytes {start} to {end} are not whole: {why}", label(disk))
        };
        let more = (self.more > 0).then(|| format!("{} more ranges are not whole", self.more));
        self.ranges.into_iter().map(line).chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_told_as_one() {
        let mut damage = Damage::default();
        for (disk, range, why) in [
            (0, 3..4, "c"),
            (0, 1..2, "a"),
            (0, 2..3, "b"),
            (0, 9..10, "d"),
            (1, 10..12, "e"),
            (1, 10..11, "f"),
            (0, 0..1, "g"),
        ] {
            damage.add(disk, range, why.to_owned());
        }
        let line = |disk, start, end, why| format!("disk {disk}: bytes {start} to {end} are not whole: {why}");
        let expected = [line(0, 0, 4, "g"), line(0, 9, 10, "d"), line(1, 10, 12, "e")];
        assert_eq!(damage.lines(|disk| format!("disk {disk}")), expected);
    }

    #[test]
    fn many_ranges_are_counted() {
        let mut damage = Damage::default();
        (0..2000).for_each(|number| damage.add(0, 2 * number..2 * number + 1, String::new()));
        let lines = damage.lines(|_| String::new());
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (1001, "1000 more ranges are not whole"));
    }
}
