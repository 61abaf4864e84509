//! Compares version numbers, to find the newest kernel.

use std::cmp::Ordering;

/// Compares like `rpm` and the Boot Loader Specification: digits by value, letters alphabetically, digits after
/// letters, and `~` before everything.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (parts(left), parts(right));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            // The longer version is newer, unless a tilde marks it as a pre-release.
            (Some(part), None) => {
                if part.starts_with('~') {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (None, Some(part)) => {
                if part.starts_with('~') {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (Some(left), Some(right)) => compare_parts(left, right),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn compare_parts(left: &str, right: &str) -> Ordering {
    let rank = |part: &str| match part.chars().next() {
        Some('~') => 0,
        Some(c) if c.is_ascii_digit() => 2,
        _ => 1,
    };
    rank(left).cmp(&rank(right)).then_with(|| match rank(left) {
        2 => {
            let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        }
        _ => left.cmp(right),
    })
}

/// Runs of digits, runs of letters, and tildes; everything else is a separator.
fn parts(version: &str) -> impl Iterator<Item = &str> {
    let mut rest = version;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric() && c != '~');
        let first = rest.chars().next()?;
        let length = match first {
            '~' => 1,
            _ if first.is_ascii_digit() => rest.bytes().take_while(u8::is_ascii_digit).count(),
            _ => rest.bytes().take_while(u8::is_ascii_alphabetic).count(),
        };
        let (part, after) = rest.split_at(length);
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_kernels_come_after_older_ones() {
        let ascending = [
            "0-rescue",
            "4.19.0-9-amd64",
            "4.19.0-10-amd64",
            "5.10.0",
            "6.1.0~rc1",
            "6.1.0",
            "6.1.0-18-amd64",
            "6.5.6-300.fc39.x86_64",
            "6.11.4-301.fc41.x86_64",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
            assert_eq!(compare(pair[0], pair[0]), Ordering::Equal);
        }
        assert_eq!(compare("1.01", "1-1"), Ordering::Equal);
    }
}
