//! Damages the bytes of the file, regardless of their meaning.

use std::ops::Range;

use super::bases::Base;
use super::{Damaged, Member};
use crate::random::Random;

pub(super) fn damage(base: &Base, random: &mut Random) -> Damaged {
    let mut bytes = base.packed.clone();
    let at = place(base, random);
    let most = 1 << random.below(18);
    let range = at..(at + 1 + random.below(most)).min(bytes.len());
    let mut touched = range.clone();
    let what = match random.below(8) {
        0 => {
            bytes.truncate(at);
            touched.end = base.packed.len();
            format!("cut off at {at}")
        }
        1 => {
            bytes.drain(range.clone());
            format!("bytes {range:?} taken out")
        }
        2 => {
            bytes[range.clone()].fill(0);
            format!("bytes {range:?} zeroed")
        }
        3 => {
            let copy = bytes[range.clone()].to_vec();
            bytes.splice(at..at, copy);
            format!("bytes {range:?} repeated")
        }
        4 => {
            bytes[at] = random.byte();
            touched.end = at + 1;
            format!("byte {at} replaced")
        }
        _ => {
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            touched.end = at + 1;
            format!("bit {bit} of byte {at} flipped")
        }
    };
    Damaged { bytes, what, disks: None, metadata: touches_metadata(base, &touched) }
}

/// A position in the file: random, or at a significant structure.
fn place(base: &Base, random: &mut Random) -> usize {
    let length = base.packed.len();
    let place = match random.below(4) {
        0 => random.below(length),
        1 => random.below(2048),
        2 => length - 1 - random.below(2048.min(length)),
        _ if base.packed != base.plain => random.below(length),
        _ => {
            let members = Member::all(&base.plain);
            let index = random.below(members.len());
            let before: usize = members[..index].iter().map(|member| member.bytes.len()).sum();
            before + random.below(600)
        }
    };
    place.min(length - 1)
}

/// Whether `ova.xml` may be affected. Compressed streams have checksums of their own.
fn touches_metadata(base: &Base, range: &Range<usize>) -> bool {
    base.packed == base.plain && range.start < Member::all(&base.plain)[0].bytes.len()
}
