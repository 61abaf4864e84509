//! Changes tar headers, with valid checksums.

use super::bases::Base;
use super::{BLOCK, Damaged, Member, join};
use crate::random::Random;

pub(super) fn damage(base: &Base, random: &mut Random) -> Damaged {
    let mut members = Member::all(&base.plain);
    let index = random.below(members.len());
    let member = &mut members[index];
    let change = match random.below(5) {
        0 | 1 => size(member, random),
        2 => name(member, random),
        3 => {
            member.bytes[156] = *random.pick(b"01234567LKxgVS\0\xff");
            format!("type {:?}", member.bytes[156] as char)
        }
        _ => {
            let at = random.below(BLOCK);
            member.bytes[at] = random.byte();
            format!("byte {at} {}", member.bytes[at])
        }
    };
    member.seal();
    let what = format!("header of {} with {change}", member.name);
    // A changed size may truncate ova.xml, and a changed name may put another member before it.
    Damaged { bytes: (base.pack)(&join(&members)), what, disks: None, metadata: index == 0 }
}

/// Changes the size slightly or absurdly.
fn size(member: &mut Member, random: &mut Random) -> String {
    const TEXTS: [&[u8; 12]; 4] = [b"-0000000001\0", &[0xff; 12], b"99999999999\0", &[0; 12]];
    let size = member.size as u64;
    let near = [0, 1, size.saturating_sub(1), size + 1, size.saturating_sub(512), size + 512, size * 2];
    let far = [8 << 20, (8 << 20) + 1, 16 << 20, 1 << 32, (1 << 33) - 1];
    let beyond = [1 << 33, 1 << 40, i64::MAX as u64, u64::MAX - 511, u64::MAX];
    let (field, what) = match random.below(4) {
        0 => {
            let size: u64 = *random.pick(&beyond);
            ([&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat(), format!("the size {size} in base 256"))
        }
        1 => {
            let text = *random.pick(&TEXTS);
            (text.to_vec(), format!("the size {:?}", String::from_utf8_lossy(text)))
        }
        _ => {
            let size = *random.pick(&[&near[..], &far].concat());
            (format!("{size:011o}\0").into_bytes(), format!("the size {size}"))
        }
    };
    member.bytes[124..136].copy_from_slice(&field);
    what
}

/// Changes the name slightly or absurdly.
fn name(member: &mut Member, random: &mut Random) -> String {
    let old = member.name.clone();
    let (disk, number) = old.split_once('/').unwrap_or(("", &old));
    let extension = number.split_once('.').map_or("", |(_, extension)| extension);
    let name = match random.below(8) {
        0 => format!("./{old}"),
        1 => format!("../../{old}"),
        2 => format!("{disk}/99999999"),
        3 => format!("{disk}/18446744073709551615.{extension}"),
        4 => format!("{disk}/99999999999999999999999"),
        5 => String::new(),
        6 => format!("{old}/"),
        _ => {
            let mut name = old.into_bytes();
            let at = random.below(name.len());
            name[at] = random.byte() & 0x7f;
            String::from_utf8(name).unwrap()
        }
    };
    member.bytes[..100].fill(0);
    member.bytes[..name.len()].copy_from_slice(name.as_bytes());
    format!("the name {name:?}")
}
