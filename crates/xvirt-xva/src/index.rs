//! The index of chunks in an archive, in the order of its frames.
//!
//! Together with the seek table, it locates any chunk without reading earlier ones. It is a skippable frame before that
//! table, with a line of text that identifies it, and JSON.

use serde::{Deserialize, Serialize};

use crate::codec::skippable;

/// The variant of the skippable frame, and the start of its contents.
const VARIANT: u32 = 0;
const TITLE: &[u8] = b"xvirt chunk index 1\n";

/// The chunks of all disks. The archive's first frame contains `ova.xml`, each later one a chunk and its checksum.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    disks: Vec<DiskIndex>,
}

/// The chunks of one disk.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskIndex {
    pub(crate) id: String,
    /// Runs of chunks: the number of the first, and the length of the run.
    pub(crate) chunks: Vec<(u64, u64)>,
}

impl Index {
    /// An index of disks with these ids, without chunks.
    pub(crate) fn new<'a>(disks: impl Iterator<Item = &'a str>) -> Self {
        Self { disks: disks.map(|id| DiskIndex { id: id.to_owned(), chunks: Vec::new() }).collect() }
    }

    /// Adds the next chunk.
    pub(crate) fn push(&mut self, disk: usize, number: u64) {
        let Some(disk) = self.disks.get_mut(disk) else { return };
        match disk.chunks.last_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => disk.chunks.push((number, 1)),
        }
    }

    pub(crate) fn to_frame(&self) -> Vec<u8> {
        // Numbers and text can always be encoded.
        let json = serde_json::to_vec(self).unwrap_or_default();
        skippable(VARIANT, &[TITLE, &json].concat())
    }

    /// Reads the index in a frame; `None` if the frame is something else.
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
