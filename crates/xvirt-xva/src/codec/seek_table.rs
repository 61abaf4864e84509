//! The seek table at the end of a zstd stream (the seekable format of zstd's `contrib`).
//!
//! It is a skippable frame, which decompressors ignore.

use std::io;

use super::frame::skippable;
use crate::input::{ReadAt, read_exact_at};

/// The variant of the skippable frame, and the magic number at the end of the table.
const VARIANT: u32 = 0xe;
const MAGIC: u32 = 0x8f92_eab1;
const FOOTER: usize = 9;
/// Set if each frame has a checksum, which this crate does not write.
const CHECKSUMS: u8 = 0x80;
const RESERVED: u8 = 0x7c;
/// The most frames in a table: those of disks with 4 TiB of data. The format allows more, but then a file that may
/// consist of holes would determine the memory use.
const MAX_FRAMES: u64 = 4 << 20;

/// The position of a frame in its file, and the size of its contents, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) content: u32,
}

/// All frames of a stream, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SeekTable {
    frames: Vec<Frame>,
}

impl SeekTable {
    /// Adds the next frame.
    pub(crate) fn push(&mut self, length: u32, content: u32) {
        let offset = self.frames.last().map_or(0, |last| last.offset + u64::from(last.length));
        self.frames.push(Frame { offset, length, content });
    }

    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The table as the last frame of the stream.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let entries = self.frames.iter().flat_map(|frame| [frame.length.to_le_bytes(), frame.content.to_le_bytes()]);
        let mut content: Vec<u8> = entries.flatten().collect();
        content.extend((self.frames.len() as u32).to_le_bytes());
        content.push(0);
        content.extend(MAGIC.to_le_bytes());
        skippable(VARIANT, &content)
    }

    /// Reads the table at the end of an archive; `None` if there is none, or none that matches the archive.
    pub(crate) fn read(input: &dyn ReadAt) -> io::Result<Option<Self>> {
        let length = input.size()?;
        let mut footer = [0; FOOTER];
        let Some(at) = length.checked_sub(FOOTER as u64) else { return Ok(None) };
        read_exact_at(input, &mut footer, at)?;
        let [a, b, c, d, descriptor, magic @ ..] = footer;
        let count = u64::from(u32::from_le_bytes([a, b, c, d]));
        if u32::from_le_bytes(magic) != MAGIC || descriptor & RESERVED != 0 || count > MAX_FRAMES {
            return Ok(None);
        }
        let entry = if descriptor & CHECKSUMS != 0 { 12 } else { 8 };
        let whole = 8 + count * entry + FOOTER as u64;
        let Some(start) = length.checked_sub(whole) else { return Ok(None) };
        let mut head = [0; 8];
        read_exact_at(input, &mut head, start)?;
        if head != *skippable_head(whole - 8) {
            return Ok(None);
        }
        let mut entries = vec![0; (count * entry) as usize];
        read_exact_at(input, &mut entries, start + 8)?;
        let mut table = Self { frames: Vec::with_capacity(count as usize) };
        for entry in entries.chunks_exact(entry as usize) {
            let Some(([a, b, c, d, e, f, g, h], _)) = entry.split_first_chunk() else { break };
            table.push(u32::from_le_bytes([*a, *b, *c, *d]), u32::from_le_bytes([*e, *f, *g, *h]));
        }
        let end = table.frames.last().map_or(0, |last| last.offset + u64::from(last.length));
        Ok((end == start).then_some(table))
    }
}

/// The magic number and length of the skippable frame.
fn skippable_head(length: u64) -> Box<[u8; 8]> {
    let mut head = Box::new([0; 8]);
    head[..4].copy_from_slice(&skippable(VARIANT, &[])[..4]);
    head[4..].copy_from_slice(&(length as u32).to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_table_that_fits_its_file_is_found_and_no_other() {
        let mut table = SeekTable::default();
        table.push(10, 100);
        table.push(20, 0);
        assert_eq!(table.frames()[1], Frame { offset: 10, length: 20, content: 0 });
        let found = |bytes: &[u8]| SeekTable::read(&bytes.to_vec()).unwrap();
        let good = [vec![0; 30], table.to_bytes()].concat();
        assert_eq!(found(&good), Some(table));
        assert_eq!(found(&good[1..]), None);
        assert_eq!(found(&good[..good.len() - 1]), None);
        assert_eq!(found(b"short"), None);
        // Only a table, with too many frames.
        let count = MAX_FRAMES + 1;
        let mut large = tempfile::tempfile().unwrap();
        large.write_all(&*skippable_head(8 * count + FOOTER as u64)).unwrap();
        let footer = [&(count as u32).to_le_bytes()[..], &[0], &MAGIC.to_le_bytes()].concat();
        large.write_all_at(&footer, 8 + 8 * count).unwrap();
        assert_eq!(SeekTable::read(&large).unwrap(), None);
        for at in 30..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let content = (42..46).contains(&at) || (50..54).contains(&at) || (at - 30) / 4 == 3 || (at - 30) / 4 == 5;
            assert!(found(&bad).is_none() || content, "{at}");
        }
    }
}
