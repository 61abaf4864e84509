//! Sizes in bytes, as people write them.

use std::fmt;
use std::str::FromStr;

/// Bytes below which no balloon takes memory from a guest.
pub const LEAST_MEMORY: u64 = 2 << 20;

/// A size in bytes: a number, and K, M, G or T for powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size; write a number and K, M, G or T, such as 512M");
        let plain = text.strip_suffix("iB").or_else(|| text.strip_suffix('B')).unwrap_or(text);
        let unit = UNITS.iter().find(|(unit, _)| plain.to_uppercase().ends_with(*unit));
        let digits = if unit.is_some() { plain.get(..plain.len() - 1).unwrap_or_default() } else { plain };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let shift = unit.map_or(0, |(_, shift)| *shift);
        number.checked_mul(1 << shift).filter(|bytes| *bytes <= i64::MAX as u64).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole units of the largest that is exact, if that is short; the memory of hosts is no round number of anything.
        let exact = |shift: u32| self.0.is_multiple_of(1 << shift) && self.0 >> shift < 10_000;
        let unit = |(_, shift): &&(char, u32)| self.0 >> shift > 0 && (exact(*shift) || self.0 >> shift >= 10);
        match UNITS.iter().rev().find(unit) {
            Some((unit, shift)) => write!(f, "{} {unit}iB", self.0 >> shift),
            None => write!(f, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("512M", 512 << 20), ("1g", 1 << 30), ("2GiB", 2 << 30), ("3KB", 3072)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "1X", "9999999999T", "9223372036854775808", "ü"] {
            assert!(text.parse::<Size>().unwrap_err().ends_with("such as 512M"), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_is_exact_or_nearly() {
        for (bytes, text) in [
            (0, "0 B"),
            (512 << 20, "512 MiB"),
            (3 << 40, "3 TiB"),
            (4097, "4097 B"),
            ((24 << 30) - 4096, "23 GiB"),
            (1536 << 20, "1536 MiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
