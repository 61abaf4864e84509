//! Patterns with `*` and `?`.

/// Whether a name matches a pattern, in which a byte for which `is_wild` holds is a wildcard. Takes time proportional
/// to the product of the lengths.
pub(super) fn matches(pattern: &[u8], name: &[u8], is_wild: impl Fn(usize) -> bool, same: fn(u8, u8) -> bool) -> bool {
    let (mut p, mut n) = (0, 0);
    // The position of the last star, and how much of the name it covers so far.
    let mut star = None;
    while let Some(c) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') if is_wild(p) => {
                star = Some((p, n));
                p += 1;
            }
            Some(want) if (*want == b'?' && is_wild(p)) || same(*want, *c) => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, covered)) => {
                    star = Some((at, covered + 1));
                    (p, n) = (at + 1, covered + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().enumerate().skip(p).all(|(at, c)| *c == b'*' && is_wild(at))
}
