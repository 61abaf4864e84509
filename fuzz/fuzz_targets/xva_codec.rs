//! Compares decompression with zstd's and gzip's own decoders, and checks the end of archives of this library.
//!
//! The first byte of the input selects whether the rest is a stream, or instructions to generate one from valid frames
//! and members with a little damage.
#![no_main]

use std::io::{self, Read, Write};

use arbitrary::{Arbitrary, Unstructured};
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use xvirt_xva::fuzzing::{decode, index, seek_table};
use xvirt_xva::{Compression, ErrorKind};

/// The limit of decompressed bytes, because a few bytes can stand for very many.
const MAX: usize = 24 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((control, data)) = data.split_first() else { return };
    let stream = match control & 1 {
        0 => data.to_vec(),
        _ => match Made::arbitrary_take_rest(Unstructured::new(data)) {
            Ok(made) => made.stream(),
            Err(_) => return,
        },
    };
    check_end(&stream);
    let ours = decode(&stream[..], MAX);
    let gzip = stream.starts_with(b"\x1f\x8b");
    match (&ours, gzip) {
        (Ok((Compression::None, content)), _) => assert_eq!(*content, stream),
        (_, true) => compare(&ours, read(MultiGzDecoder::new(&stream[..]))),
        (_, false) => compare(&ours, reference(&stream)),
    }
});

/// The result of zstd. Its one-shot decoder needs no window, and always checks the content size; its streaming decoder
/// is used for the start of streams that are too large for the other one.
fn reference(stream: &[u8]) -> io::Result<Vec<u8>> {
    let content = read(zstd::stream::read::Decoder::with_buffer(stream)?);
    match content {
        Ok(content) if content.len() == MAX => Ok(content),
        _ => zstd::bulk::decompress(stream, MAX),
    }
}

fn read(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    decoder.take(MAX as u64).read_to_end(&mut content)?;
    Ok(content)
}

fn compare(ours: &xvirt_xva::Result<(Compression, Vec<u8>)>, theirs: io::Result<Vec<u8>>) {
    match (ours, theirs) {
        (Ok((_, ours)), Ok(theirs)) => assert!(*ours == theirs, "{} bytes differ from {}", ours.len(), theirs.len()),
        // The window exceeds our limit.
        (Err(error), Ok(_)) if error.kind() == ErrorKind::LimitExceeded => {}
        // Our decoder may have detected damage beyond the requested bytes.
        (Err(_), Ok(theirs)) if theirs.len() == MAX => {}
        // zstd returns nothing for a stream that is too large for the one-shot decoder and has a large window.
        (Ok((_, ours)), Err(_)) if ours.len() == MAX => {}
        (Err(error), Ok(_)) => panic!("ours fails where theirs does not: {error}"),
        (Ok((_, ours)), Err(error)) => panic!("ours gives {} bytes where theirs fails: {error}", ours.len()),
        (Err(_), Err(_)) => {}
    }
}

/// Parses a seek table and a chunk index, if there are any.
fn check_end(stream: &[u8]) {
    index(stream);
    let Some(frames) = seek_table(&stream.to_vec()).expect("memory can be read") else { return };
    let mut end = 0;
    for (offset, length, _) in frames {
        assert_eq!(offset, end);
        end += u64::from(length);
        let frame = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        let frame = frame.and_then(|(from, to)| stream.get(from..to)).expect("a frame is in the stream");
        index(frame);
    }
}

/// A stream to generate.
#[derive(Arbitrary, Debug)]
struct Made {
    gzip: bool,
    parts: Vec<Part>,
    /// The position and value of a changed byte.
    damage: Option<(u16, u8)>,
    /// The number of bytes to cut off.
    cut: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Part {
    Frame { content: Content, level: u8, checksum: bool, told: bool },
    Skippable { variant: u8, content: Vec<u8> },
    Raw(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Content {
    pattern: Vec<u8>,
    repeat: u16,
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        let most = (5 << 20) / self.pattern.len().max(1);
        self.pattern.repeat(most.min(self.repeat.into()))
    }
}

impl Made {
    fn stream(&self) -> Vec<u8> {
        let mut stream = Vec::new();
        for part in self.parts.iter().take(16) {
            match part {
                Part::Frame { content, level, checksum, told } => {
                    let made = match self.gzip {
                        true => gzip(&content.bytes(), *level),
                        false => zstd(&content.bytes(), *level, *checksum, *told),
                    };
                    stream.extend(made.expect("it can be compressed"));
                }
                Part::Skippable { variant, content } => {
                    stream.extend((0x184d_2a50 | u32::from(variant & 15)).to_le_bytes());
                    stream.extend((content.len() as u32).to_le_bytes());
                    stream.extend(content);
                }
                Part::Raw(bytes) => stream.extend(bytes),
            }
        }
        if let Some((at, change)) = self.damage
            && !stream.is_empty()
        {
            let at = usize::from(at) % stream.len();
            stream[at] ^= change;
        }
        stream.truncate(stream.len() - usize::from(self.cut.unwrap_or(0)).min(stream.len()));
        stream
    }
}

fn zstd(content: &[u8], level: u8, checksum: bool, told: bool) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), i32::from(level % 4) + 1)?;
    encoder.include_checksum(checksum)?;
    if told {
        encoder.set_pledged_src_size(Some(content.len() as u64))?;
    }
    encoder.write_all(content)?;
    encoder.finish()
}

fn gzip(content: &[u8], level: u8) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(u32::from(level % 4)));
    encoder.write_all(content)?;
    encoder.finish()
}
