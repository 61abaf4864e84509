//! Removes, duplicates and moves members.

use super::bases::Base;
use super::{Damaged, Member, join};
use crate::archives::Disks;
use crate::random::Random;

const MIB: usize = 1 << 20;

pub(super) fn damage(base: &Base, random: &mut Random) -> Damaged {
    let mut members = Member::all(&base.plain);
    let mut disks = None;
    let one = random.below(members.len());
    let other = random.below(members.len());
    let name = members[one].name.clone();
    let what = match random.below(7) {
        0 => {
            members.remove(one);
            format!("{name} removed")
        }
        1 => {
            members.insert(one, members[one].clone());
            format!("{name} repeated")
        }
        2 => {
            members.insert(other, members[one].clone());
            format!("{name} repeated before {}", members[other + 1].name)
        }
        3 => {
            members.swap(one, other);
            format!("{name} and {} exchanged", members[one].name)
        }
        4 => {
            let member = members.remove(one);
            members.insert(other.min(members.len()), member);
            format!("{name} moved to {other}")
        }
        5 if base.regular => {
            let index = chunk(&members, random);
            let what = format!("{} and its checksum removed", members[index].name);
            disks = without(base, &members, index);
            members.drain(index..index + 2);
            what
        }
        _ => {
            let (one, other) = (chunk(&members, random), chunk(&members, random));
            members.swap(one, other);
            members.swap(one + 1, other + 1);
            format!("{} and {} exchanged with their checksums", members[one].name, members[other].name)
        }
    };
    Damaged { bytes: (base.pack)(&join(&members)), what, disks, metadata: false }
}

/// The index of a random chunk.
fn chunk(members: &[Member], random: &mut Random) -> usize {
    let chunks: Vec<_> = (0..members.len()).filter(|index| members[*index].is_chunk()).collect();
    *random.pick(&chunks)
}

/// The disks of an archive without a chunk, if that is valid: zeroes may be omitted, but not at the end of a disk.
fn without(base: &Base, members: &[Member], index: usize) -> Option<Disks> {
    let member = &members[index];
    if members.get(index + 2).is_none_or(|next| next.disk() != member.disk()) {
        return None;
    }
    let mut disks = base.disks.clone();
    let number: usize = member.name.split('/').nth(1).unwrap().parse().unwrap();
    let disk = disks.get_mut(member.disk())?;
    disk[number * MIB..(number + 1) * MIB].fill(0);
    Some(disks)
}
