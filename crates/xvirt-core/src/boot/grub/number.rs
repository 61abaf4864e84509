//! Numbers as GRUB reads them.

/// Reads the number at the start of a text, like `strtoul` with a base of 0: `0x` starts a hexadecimal number, and 0
/// before another octal digit an octal one. Returns it with the text after it; `None` if there is no number.
pub(super) fn unsigned(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let octal = |rest: &str| rest.starts_with(|c: char| ('0'..='7').contains(&c));
    let (base, digits) = match text.strip_prefix("0x") {
        Some(rest) => (16, rest),
        None if text.strip_prefix('0').is_some_and(octal) => (8, text),
        None => (10, text),
    };
    let end = digits.find(|c: char| !c.is_digit(base)).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    let add = |sum: u64, c: char| sum.saturating_mul(base.into()).saturating_add(c.to_digit(base).unwrap_or(0).into());
    (!number.is_empty()).then(|| (number.chars().fold(0, add), rest))
}

/// A number with an optional sign; 0 if there is none.
pub(super) fn signed(text: &str) -> i64 {
    let value = |text: &str| unsigned(text).map_or(0, |(number, _)| i64::try_from(number).unwrap_or(i64::MAX));
    text.strip_prefix('-').map_or_else(|| value(text), |rest| -value(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_grub_does() {
        let cases = [
            ("0", Some((0, ""))),
            ("12>3", Some((12, ">3"))),
            ("0x2", Some((2, ""))),
            ("0xfFg", Some((255, "g"))),
            ("010", Some((8, ""))),
            ("09", Some((9, ""))),
            ("1abc", Some((1, "abc"))),
            (" \t7 8", Some((7, " 8"))),
            ("99999999999999999999", Some((u64::MAX, ""))),
            ("", None),
            ("x1", None),
            ("-1", None),
            ("0x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(unsigned(text), expected, "{text:?}");
        }
        assert_eq!(["-5", "0x10", "x", "--1", "- 3"].map(signed), [-5, 16, 0, 0, -3]);
    }
}
