//! Damages archives in reproducible ways.

mod bases;
mod header;
mod members;
mod metadata;
mod stream;

pub use bases::{Base, bases};

use crate::archives::Disks;
use crate::random::Random;

/// A damaged archive.
#[derive(Debug)]
pub struct Damaged {
    /// The archive.
    pub bytes: Vec<u8>,
    /// A description of the damage.
    pub what: String,
    /// The new contents of its disks, if the archive is still valid and they differ.
    pub disks: Option<Disks>,
    /// Whether `ova.xml` may have changed.
    pub metadata: bool,
}

/// Damages an archive in one way.
pub fn damage(base: &Base, random: &mut Random) -> Damaged {
    match random.below(10) {
        0..=3 => stream::damage(base, random),
        4..=5 => header::damage(base, random),
        6..=7 => members::damage(base, random),
        _ => metadata::damage(base, random),
    }
}

/// One member of an archive.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    /// Its 512-byte header, and its data with padding.
    bytes: Vec<u8>,
    size: usize,
}

const BLOCK: usize = 512;

impl Member {
    /// All members of an archive, without the blocks at the end.
    fn all(archive: &[u8]) -> Vec<Self> {
        let mut members = Vec::new();
        let mut rest = archive;
        while rest.len() > BLOCK && rest[0] != 0 {
            let text =
                |field: &[u8]| String::from_utf8(field.split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap();
            let size = usize::from_str_radix(text(&rest[124..136]).trim(), 8).unwrap();
            let (bytes, more) = rest.split_at(BLOCK + size.next_multiple_of(BLOCK));
            members.push(Self { name: text(&bytes[..100]), bytes: bytes.to_vec(), size });
            rest = more;
        }
        members
    }

    /// Whether it is a chunk, rather than a checksum or metadata.
    fn is_chunk(&self) -> bool {
        self.name.contains('/') && !self.name.contains('.')
    }

    fn disk(&self) -> &str {
        self.name.split('/').next().unwrap()
    }

    /// Recomputes the checksum of the header.
    fn seal(&mut self) {
        self.bytes[148..156].fill(b' ');
        let sum: u32 = self.bytes[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
        self.bytes[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
    }
}

/// The archive of these members.
fn join(members: &[Member]) -> Vec<u8> {
    let end = [0; 2 * BLOCK];
    members.iter().map(|member| &member.bytes[..]).chain([&end[..]]).collect::<Vec<_>>().concat()
}
