//! Parses the frames of a zstd stream without decompressing them (RFC 8878, section 3).

use std::io::{self, Read};

/// The magic number of a frame.
const MAGIC: u32 = 0xfd2f_b528;
/// The magic number of a skippable frame, without its lowest four bits.
const SKIPPABLE: u32 = 0x184d_2a50;
/// The maximum size of a block.
const MAX_BLOCK: usize = 128 << 10;

/// Whether these bytes start a zstd stream.
pub(super) fn is_magic(start: &[u8]) -> bool {
    let magic = start.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    magic.is_some_and(|magic| magic == MAGIC || is_skippable(magic))
}

fn is_skippable(magic: u32) -> bool {
    magic & !0xf == SKIPPABLE
}

/// A skippable frame around `content`; `variant` is 0 to 15.
pub(crate) fn skippable(variant: u32, content: &[u8]) -> Vec<u8> {
    let length = content.len() as u32;
    [&(SKIPPABLE | variant & 0xf).to_le_bytes(), &length.to_le_bytes(), content].concat()
}

/// The start of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A frame with data.
    Data(Header),
    /// A skippable frame, whose contents of this length follow.
    Skippable(u64),
}

/// A frame header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The bytes of the header.
    pub(super) bytes: Vec<u8>,
    /// The size of the contents in bytes, if the header has it.
    pub(super) content: Option<u64>,
    /// The window size in bytes.
    pub(super) window: u64,
    checksum: bool,
}

/// Reads the start of a frame; `None` at the end of the input.
pub(super) fn start(input: &mut impl Read) -> io::Result<Option<Start>> {
    let mut bytes = Vec::with_capacity(18);
    if input.take(4).read_to_end(&mut bytes)? == 0 {
        return Ok(None);
    }
    let magic = u32::from_le_bytes(*bytes.first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?);
    if is_skippable(magic) {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        return Ok(Some(Start::Skippable(u32::from_le_bytes(length).into())));
    }
    if magic != MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what follows a frame is not a frame"));
    }
    let descriptor = next(input, &mut bytes, 1)?;
    let single = descriptor & 0x20 != 0;
    let identifier = [0, 1, 2, 4][(descriptor & 3) as usize];
    let window = if single { None } else { Some(window(next(input, &mut bytes, 1)?)) };
    next(input, &mut bytes, identifier)?;
    let content = match (descriptor >> 6, single) {
        (0, false) => None,
        (0, true) => Some(next(input, &mut bytes, 1)?),
        (1, _) => Some(next(input, &mut bytes, 2)? + 256),
        (2, _) => Some(next(input, &mut bytes, 4)?),
        _ => Some(next(input, &mut bytes, 8)?),
    };
    // A single-segment frame has no window descriptor, but it has a content size.
    let window = window.or(content).unwrap_or_default();
    Ok(Some(Start::Data(Header { bytes, content, window, checksum: descriptor & 4 != 0 })))
}

impl Header {
    /// The memory for decompressing the contents as a stream, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.content.unwrap_or(u64::MAX).min(self.window)
    }
}

/// Decodes a window descriptor: an exponent, and eighths.
fn window(descriptor: u64) -> u64 {
    let base = 1 << (10 + (descriptor >> 3 & 0x1f));
    base + base / 8 * (descriptor & 7)
}

/// Reads the next bytes of a header as a number.
fn next(input: &mut impl Read, bytes: &mut Vec<u8>, count: usize) -> io::Result<u64> {
    let mut buffer = [0; 8];
    let field = buffer.get_mut(..count).ok_or(io::ErrorKind::InvalidData)?;
    input.read_exact(field)?;
    bytes.extend_from_slice(field);
    Ok(u64::from_le_bytes(buffer))
}

/// Reads the rest of a frame after its header into `buffer`, without decompressing it; returns the length of the frame.
/// The buffer grows to at most `most` bytes; a longer frame is an error.
pub(super) fn rest(input: &mut impl Read, header: &Header, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut frame = Frame { buffer, length: 0, most };
    frame.space(header.bytes.len())?.copy_from_slice(&header.bytes);
    loop {
        let mut block = [0; 4];
        input.read_exact(&mut block[..3])?;
        frame.space(3)?.copy_from_slice(&block[..3]);
        let block = u32::from_le_bytes(block);
        let length = match block >> 1 & 3 {
            // One byte stands for the whole block (RLE).
            1 => 1,
            0 | 2 => (block >> 3) as usize,
            _ => return Err(invalid("a block has a reserved type")),
        };
        if length > MAX_BLOCK {
            return Err(invalid("a block is too long"));
        }
        input.read_exact(frame.space(length)?)?;
        if block & 1 != 0 {
            break;
        }
    }
    if header.checksum {
        input.read_exact(frame.space(4)?)?;
    }
    Ok(frame.length)
}

/// A frame that is being read.
struct Frame<'a> {
    buffer: &'a mut Vec<u8>,
    length: usize,
    most: usize,
}

impl Frame<'_> {
    /// Space for the next bytes.
    fn space(&mut self, count: usize) -> io::Result<&mut [u8]> {
        let start = self.length;
        self.length += count;
        if self.length > self.most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than its content allows"));
        }
        if self.length > self.buffer.len() {
            self.buffer.resize(self.length, 0);
        }
        self.buffer.get_mut(start..self.length).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_frame_is_that_of_its_window_or_its_content() {
        let memory = |header: &[u8]| {
            let bytes = [&MAGIC.to_le_bytes(), header].concat();
            let Some(Start::Data(header)) = start(&mut &bytes[..]).unwrap() else { panic!("not a frame") };
            header.memory()
        };
        assert_eq!(memory(&[0x00, 0x00]), 1 << 10);
        assert_eq!(memory(&[0x00, 0x58]), 2 << 20);
        assert_eq!(memory(&[0x00, 0x8f]), (128 << 20) / 8 * 15);
        assert_eq!(memory(&[0x00, 0xff]), (1 << 41) / 8 * 15);
        // Contents of 70,000 bytes, with a window of 2 GiB and as a single segment.
        assert_eq!(memory(&[0x80, 0xa8, 0x70, 0x11, 0x01, 0x00]), 70_000);
        assert_eq!(memory(&[0xa0, 0x70, 0x11, 0x01, 0x00]), 70_000);
    }

    #[test]
    fn frames_are_taken_apart_as_they_were_put_together() {
        let contents = [vec![], vec![7; 300_000], (0..=255).cycle().take(100_000).collect::<Vec<u8>>()];
        let frames: Vec<_> = contents.iter().map(|content| zstd::bulk::compress(content, 3).unwrap()).collect();
        let mut input = [frames.concat(), skippable(1, b"abc")].concat();
        input.extend(&frames[1]);
        let mut input = &input[..];
        for (content, frame) in contents.iter().zip(&frames) {
            let Some(Start::Data(header)) = start(&mut input).unwrap() else { panic!("not a frame") };
            assert_eq!(header.content, Some(content.len() as u64));
            let mut whole = Vec::new();
            let length = rest(&mut input, &header, &mut whole, 1 << 20).unwrap();
            assert_eq!(whole[..length], *frame);
        }
        assert_eq!(start(&mut input).unwrap(), Some(Start::Skippable(3)));
        input = &input[3..];
        let Some(Start::Data(header)) = start(&mut input).unwrap() else { panic!("not a frame") };
        assert!(rest(&mut &input[..input.len() - 1], &header, &mut Vec::new(), 1 << 20).is_err());
        assert!(rest(&mut &input[..], &header, &mut Vec::new(), 10).is_err());
        assert_eq!(start(&mut &b""[..]).unwrap(), None);
        assert!(start(&mut &b"\x28\xb5"[..]).is_err() && start(&mut &b"abcd"[..]).is_err());
    }
}
