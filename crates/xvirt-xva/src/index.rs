//! Which chunks an archive holds, in the order of its frames.
//!
//! With the seek table it leads to any chunk without reading what is before it. It lies in a skippable frame before that
//! table: a line of text that says what it is, and JSON.

use serde::{Deserialize, Serialize};

use crate::codec::skippable;

/// The variant of the skippable frame, and how its content begins.
const VARIANT: u32 = 0;
const TITLE: &[u8] = b"xvirt chunk index 1\n";

/// The chunks of all disks. The archive's first frame holds `ova.xml`, each further one a chunk and its checksum.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    disks: Vec<DiskIndex>,
}

/// The chunks of one disk.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskIndex {
    pub(crate) id: String,
    /// Runs of chunks: the number of the first and how many follow one another.
    pub(crate) chunks: Vec<(u64, u64)>,
}

impl Index {
    /// An index of disks with these ids, which have no chunks yet.
    pub(crate) fn new<'a>(disks: impl Iterator<Item = &'a str>) -> Self {
        Self { disks: disks.map(|id| DiskIndex { id: id.to_owned(), chunks: Vec::new() }).collect() }
    }

    /// Notes the next chunk.
    pub(crate) fn push(&mut self, disk: usize, number: u64) {
        let Some(disk) = self.disks.get_mut(disk) else { return };
        match disk.chunks.last_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => disk.chunks.push((number, 1)),
        }
    }

    pub(crate) fn to_frame(&self) -> Vec<u8> {
        // Numbers and text always can be written.
        let json = serde_json::to_vec(self).unwrap_or_default();
        skippable(VARIANT, &[TITLE, &json].concat())
    }

    /// Reads the index in a frame; none if it is something else.
    pub(crate) fn from_frame(frame: &[u8]) -> Option<Self> {
        let content = frame.get(8..)?;
        (frame == skippable(VARIANT, content)).then_some(())?;
        serde_json::from_slice(content.strip_prefix(TITLE)?).ok()
    }

    pub(crate) fn disks(&self) -> &[DiskIndex] {
        &self.disks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut index = Index::new(["Ref:4"].into_iter());
        [0, 1, 2, 7, 9, 10].into_iter().for_each(|number| index.push(0, number));
        assert_eq!(index.disks()[0].chunks, [(0, 3), (7, 1), (9, 2)]);
        let frame = index.to_frame();
        assert_eq!(Index::from_frame(&frame), Some(index));
        assert_eq!(Index::from_frame(&frame[..frame.len() - 1]), None);
        assert_eq!(Index::from_frame(&skippable(0, b"{}")), None);
        assert_eq!(Index::from_frame(b""), None);
    }
}
