//! What XenServer's reader refuses, and this one reads.

use std::collections::BTreeMap;

use crate::chunk::{CHUNK, Role};
use crate::ova::ExpectedDisk;
use crate::tar::{Entry, EntryKind};

/// The largest window of zstd that a host allows, in bytes.
const MAX_WINDOW: u64 = 128 << 20;

/// Collects what keeps XenServer from importing an archive, by kind.
#[derive(Debug, Default)]
pub(super) struct Strict {
    /// Each kind, with the first member of it and the number of members.
    kinds: BTreeMap<&'static str, (String, u64)>,
    members: u64,
    /// The disk of the last chunk, the number of the next one, and its number as it is written.
    last: Option<(usize, u64, String)>,
    /// The length of the first chunk, which is that of all gaps.
    first: Option<u64>,
}

impl Strict {
    /// Looks at a member in its turn.
    pub(super) fn member(&mut self, entry: &Entry, role: &Role<'_>, disks: &[ExpectedDisk]) {
        self.members += 1;
        if self.members == 1 && (entry.name != "ova.xml" || entry.dotted) {
            self.add("ova.xml is not its first member", entry);
        }
        if entry.dotted {
            self.add("names begin with ./", entry);
        }
        match role {
            _ if entry.kind == EntryKind::Directory => self.add("it contains directories", entry),
            Role::Chunk { disk, number } => {
                let disk = disks.iter().position(|other| other.id == *disk);
                self.chunk(entry, disk.unwrap_or_default(), *number);
            }
            _ => {}
        }
    }

    fn chunk(&mut self, entry: &Entry, disk: usize, number: u64) {
        let unit = *self.first.get_or_insert(entry.size);
        let digits = entry.name.rsplit('/').next().unwrap_or_default();
        let next = match self.last.take() {
            Some((last, ..)) if disk < last => {
                self.add("disks are interleaved, or not in the order of their ids", entry);
                number
            }
            Some((last, next, before)) if disk == last => {
                if *digits <= *before {
                    self.add("the numbers of chunks do not have 8 digits, and are not in the order of texts", entry);
                }
                next
            }
            _ => 0,
        };
        if number > next && unit != CHUNK {
            self.add("chunks are missing, but the first one, which tells their size, has not 1 MiB", entry);
        }
        self.last = Some((disk, number.saturating_add(1), digits.to_owned()));
    }

    /// Looks at what follows a chunk: XenServer does not skip the padding there.
    pub(super) fn after_chunk(&mut self, chunk: &Entry, next: Option<&Entry>) {
        if !chunk.size.is_multiple_of(512) && next.is_none_or(|next| !next.unpadded) {
            self.add("a chunk has no multiple of 512 bytes", chunk);
        }
    }

    fn add(&mut self, kind: &'static str, entry: &Entry) {
        self.kinds.entry(kind).or_insert_with(|| (entry.name.clone(), 0)).1 += 1;
    }

    /// One line for each kind.
    pub(super) fn lines(self, window: u64) -> Vec<String> {
        let line = |(kind, (first, count))| match count {
            1 => format!("{kind}: {first}"),
            count => format!("{kind}: {first} and {} more", count - 1),
        };
        let window = (window > MAX_WINDOW).then(|| "it is compressed with a window of more than 128 MiB".to_owned());
        self.kinds.into_iter().map(line).chain(window).collect()
    }
}
