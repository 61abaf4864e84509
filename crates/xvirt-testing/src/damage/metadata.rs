//! Changes the metadata.

use super::bases::Base;
use super::{BLOCK, Damaged, Member, join};
use crate::random::Random;

pub(super) fn damage(base: &Base, random: &mut Random) -> Damaged {
    let mut members = Member::all(&base.plain);
    let member = &mut members[0];
    let mut xml = member.bytes[BLOCK..BLOCK + member.size].to_vec();
    let what = change(&mut xml, random);
    member.bytes.truncate(BLOCK);
    member.bytes[124..136].copy_from_slice(format!("{:011o}\0", xml.len()).as_bytes());
    member.bytes.extend(&xml);
    member.bytes.resize(member.bytes.len().next_multiple_of(BLOCK), 0);
    member.seal();
    Damaged { bytes: (base.pack)(&join(&members)), what: format!("ova.xml with {what}"), disks: None, metadata: true }
}

fn change(xml: &mut Vec<u8>, random: &mut Random) -> String {
    let at = random.below(xml.len());
    let range = at..(at + 1 + random.below(200)).min(xml.len());
    match random.below(10) {
        0 | 1 => size(xml, random),
        2 => reference(xml, random),
        3 => {
            xml[at] = random.byte();
            format!("{:?} at {at}", xml[at] as char)
        }
        4 => {
            let digits: Vec<_> = (0..xml.len()).filter(|at| xml[*at].is_ascii_digit()).collect();
            let at = *random.pick(&digits);
            xml[at] = b'0' + random.below(10) as u8;
            format!("the digit {:?} at {at}", xml[at] as char)
        }
        5 => {
            xml.drain(range.clone());
            format!("{range:?} taken out")
        }
        6 => {
            let copy = xml[range.clone()].to_vec();
            xml.splice(at..at, copy);
            format!("{range:?} repeated")
        }
        7 => {
            xml.truncate(at);
            format!("an end at {at}")
        }
        8 => {
            let inserts: [&[u8]; 4] = [b"<value><array><data>", b"<value/>", b"\0", b"&amp;&#x41;&a;"];
            let insert = random.pick(&inserts).repeat(1 << random.below(14));
            let what = format!("{} bytes of {:?} at {at}", insert.len(), String::from_utf8_lossy(&insert[..1]));
            xml.splice(at..at, insert);
            what
        }
        _ => {
            let count = *random.pick(&[1, 1000, 20_000, 50_000, 2_000_000, 3_000_000]);
            *xml = [b"<value><array><data>", &b"<value/>".repeat(count)[..], b"</data></array></value>"].concat();
            format!("an array of {count} values")
        }
    }
}

/// Changes the size of a disk slightly or absurdly.
fn size(xml: &mut Vec<u8>, random: &mut Random) -> String {
    const FIELD: &str = "<name>virtual_size</name><value>";
    const TEXTS: [&str; 6] = ["-1", "", "1e9", "99999999999999999999999", "0x100000", " 5242880 "];
    let start = *random.pick(&all(xml, FIELD)) + FIELD.len();
    let length = xml[start..].iter().position(|byte| *byte == b'<').unwrap();
    let old: u64 = std::str::from_utf8(&xml[start..start + length]).unwrap().parse().unwrap();
    let near = [old - 1, old + 1, old - 512, old + 512, old - (1 << 20), old + (1 << 20), old - 5000, old / 2, old * 2];
    let far = [0, 1 << 32, 1 << 40, 1 << 50, 1 << 62, i64::MAX as u64, 1 << 63, u64::MAX];
    let size = match random.below(8) {
        0..=3 => random.pick(&near).to_string(),
        4..=6 => random.pick(&far).to_string(),
        _ => (*random.pick(&TEXTS)).to_owned(),
    };
    xml.splice(start..start + length, size.bytes());
    format!("the size '{size}' instead of {old}")
}

/// Replaces a reference or id with another one.
fn reference(xml: &mut Vec<u8>, random: &mut Random) -> String {
    let places = all(xml, "Ref:");
    let (one, other) = (*random.pick(&places), *random.pick(&places));
    let text = |at: usize| xml[at..].split(|byte| *byte == b'<').next().unwrap().to_vec();
    let (old, new) = (text(one), text(other));
    xml.splice(one..one + old.len(), new.iter().copied());
    format!("{} at {one} instead of {}", String::from_utf8_lossy(&new), String::from_utf8_lossy(&old))
}

fn all(xml: &[u8], text: &str) -> Vec<usize> {
    (0..xml.len()).filter(|at| xml[*at..].starts_with(text.as_bytes())).collect()
}
