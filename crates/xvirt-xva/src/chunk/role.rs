//! What a member of an archive is to its disks.
//!
//! A missing chunk reads as zeroes. So whatever stands where a chunk belongs, and is none, must be told from members
//! that have nothing to do with a disk: a link to another chunk, a sparse member, a chunk whose name was changed.

use super::{Checksum, Name};
use crate::Error;
use crate::error::corrupt;
use crate::ova::ExpectedDisk;
use crate::tar::{Entry, EntryKind};

/// What a member is to the disks.
#[derive(Debug)]
pub(crate) enum Role<'a> {
    /// A chunk of the disk with this id.
    Chunk { disk: &'a str, number: u64 },
    /// A checksum, which should follow its chunk.
    Checksum,
    /// It stands where a chunk or a checksum belongs, but is none.
    Misfit(Misfit),
    /// It has nothing to do with a disk.
    Other,
}

/// Something that stands where a chunk belongs.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// The disk, by its index, if the name tells.
    pub(crate) disk: Option<usize>,
    /// The number of the chunk, if the name tells.
    pub(crate) number: Option<u64>,
    pub(crate) error: Error,
}

impl<'a> Role<'a> {
    /// The role of a member among these disks.
    pub(crate) fn of(entry: &'a Entry, disks: &[ExpectedDisk]) -> Self {
        if entry.kind == EntryKind::File {
            match Name::parse(&entry.name) {
                Name::Chunk { disk, number } => return Self::Chunk { disk, number },
                Name::Checksum { .. } => return Self::Checksum,
                Name::Other => {}
            }
        }
        let parts: Vec<_> = entry.name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let [folders @ .., last] = &parts[..] else { return Self::Other };
        let disk = disks.iter().position(|disk| folders.contains(&disk.id.as_str()));
        let kinds = [Checksum::Xxhash, Checksum::Sha1];
        let stem = kinds.iter().find_map(|kind| last.strip_suffix(kind.extension())).unwrap_or(last);
        let numbered = stem.bytes().all(|byte| byte.is_ascii_digit());
        // Hidden files are what file managers leave in folders.
        let is_other = !numbered && (disk.is_none() || last.starts_with('.'));
        if is_other { Self::Other } else { Self::Misfit(Misfit { disk, number: stem.parse().ok(), error: why(entry) }) }
    }
}

fn why(entry: &Entry) -> Error {
    let what = match entry.kind {
        EntryKind::File => {
            return corrupt(&entry.name, "it stands where a chunk belongs, and does not have the name of one")
                .with_remedy("name chunks by their disk and number, such as Ref:4/00000012");
        }
        EntryKind::Directory => "a directory",
        EntryKind::Special(what) => what,
    };
    corrupt(&entry.name, format!("it stands where a chunk belongs, but is {what}")).with_remedy(
        "unpack the archive and pack it again from plain files: GNU tar needs --hard-dereference and --dereference, \
         and no --sparse",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, kind: EntryKind) -> String {
        let disks = [ExpectedDisk { id: "Ref:4".to_owned(), size: 1, required: true }];
        match Role::of(&Entry { name: name.to_owned(), size: 0, kind, dotted: false, unpadded: false }, &disks) {
            Role::Chunk { disk, number } => format!("chunk {number} of {disk}"),
            Role::Checksum => "checksum".to_owned(),
            Role::Misfit(Misfit { disk, number, .. }) => format!("misfit {disk:?} {number:?}"),
            Role::Other => "other".to_owned(),
        }
    }

    #[test]
    fn what_stands_where_a_chunk_belongs_is_told_from_the_rest() {
        use EntryKind::{Directory, File, Special};
        let link = Special("a hard link");
        for (name, kind, expected) in [
            ("Ref:4/00000012", File, "chunk 12 of Ref:4"),
            ("Ref:4/00000012.xxhash", File, "checksum"),
            ("Ref:4/00000012", link, "misfit Some(0) Some(12)"),
            ("Ref:4/00000012.xxhash", link, "misfit Some(0) Some(12)"),
            ("Ref:4/00000012/", Directory, "misfit Some(0) Some(12)"),
            ("Ref:4/12", File, "chunk 12 of Ref:4"),
            ("Ref:4/99999999999999999999999", File, "misfit Some(0) None"),
            ("Ref:4/00000012.gz", File, "misfit Some(0) None"),
            ("Ref:4/./more/x", File, "misfit Some(0) None"),
            ("Ref:9/12", File, "chunk 12 of Ref:9"),
            ("Ref:4/12", link, "misfit Some(0) Some(12)"),
            ("00000012", File, "misfit None Some(12)"),
            ("Ref:4/", Directory, "other"),
            ("Ref:4", Directory, "other"),
            ("Ref:4/.DS_Store", File, "other"),
            ("notes/readme", File, "other"),
            ("notes", link, "other"),
            ("", Directory, "other"),
        ] {
            assert_eq!(role(name, kind), expected, "{name}");
        }
    }
}
