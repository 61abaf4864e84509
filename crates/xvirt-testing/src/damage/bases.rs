//! The archives to damage.

use std::io::{Read, Write};

use xvirt_xva::{Checksum, WriteOptions};

use crate::archives::{Disks, archive, disks};
use crate::files::pattern;
use crate::samples::sample;

const MIB: usize = 1 << 20;

/// A valid archive.
#[derive(Debug)]
pub struct Base {
    /// Its description.
    pub name: &'static str,
    /// The uncompressed archive.
    pub plain: Vec<u8>,
    /// The archive.
    pub packed: Vec<u8>,
    /// Compresses an archive in the same way.
    pub pack: fn(&[u8]) -> Vec<u8>,
    /// Its disks, and its memory image if it has one.
    pub disks: Disks,
    /// Whether its chunk numbers determine their positions, because it has no chunks without bytes.
    pub regular: bool,
    /// The number of damaged variants; fewer for large archives.
    pub cases: usize,
}

/// All archives to damage.
pub fn bases() -> Vec<Base> {
    let plain = ours(&WriteOptions::none());
    let base = |name, plain: &[u8], packed: Vec<u8>, pack: fn(&[u8]) -> Vec<u8>, regular| {
        let (_, disks) = disks(plain).unwrap();
        Base { name, plain: plain.to_vec(), packed, pack, disks, regular, cases: 320 }
    };
    let sample = |name, regular| {
        let bytes = sample(name);
        Base { cases: 50, ..base(name, &bytes, bytes.clone(), <[u8]>::to_vec, regular) }
    };
    let sha1 = ours(&WriteOptions::none().checksum(Checksum::Sha1));
    let zstd = ours(&WriteOptions::zstd());
    let gzip = ours(&WriteOptions::gzip());
    vec![
        base("ours", &plain, plain.clone(), <[u8]>::to_vec, true),
        base("ours with SHA-1", &sha1, sha1.clone(), <[u8]>::to_vec, true),
        base("ours with zstd", &zstd::decode_all(&zstd[..]).unwrap(), zstd, frames, true),
        base("ours with gzip", &gunzip(&gzip), gzip, members, true),
        base("one frame of zstd", &plain, one_frame(&plain), one_frame, true),
        base("frames of zstd", &plain, frames(&plain), frames, true),
        sample("xo-3disks.xva", true),
        sample("xapi-suspended.xva", true),
        sample("xapi-heartbeats.xva", false),
    ]
}

/// A small VM with two disks: one with data, a hole and a non-zero end, and one that ends with zeroes.
fn ours(options: &WriteOptions) -> Vec<u8> {
    // Each chunk has a little noise, and text that compresses well.
    let chunk = |seed| {
        let mut bytes = format!("chunk {seed} ").into_bytes().repeat(MIB / 8);
        bytes[..20_000].copy_from_slice(&pattern(seed, 20_000));
        bytes.truncate(MIB);
        bytes
    };
    let root = [chunk(1), chunk(2), vec![0; MIB], chunk(3), chunk(4)].concat();
    let mut data = [chunk(5), chunk(6)].concat();
    data[MIB + 30_000..].fill(0);
    archive("damaged", &[root, data], options)
}

fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut plain).unwrap();
    plain
}

/// gzip members whose ends are unrelated to those of chunks.
fn members(plain: &[u8]) -> Vec<u8> {
    plain.chunks(700_000).fold(Vec::new(), |packed, part| {
        let mut member = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        member.write_all(part).unwrap();
        member.finish().unwrap()
    })
}

/// Compresses like XenServer: a single frame without a content size.
fn one_frame(plain: &[u8]) -> Vec<u8> {
    let mut frame = zstd::Encoder::new(Vec::new(), 1).unwrap();
    frame.include_checksum(true).unwrap();
    frame.write_all(plain).unwrap();
    frame.finish().unwrap()
}

/// zstd frames whose ends are unrelated to those of chunks.
fn frames(plain: &[u8]) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor.include_checksum(true).unwrap();
    plain.chunks(700_000).flat_map(|part| compressor.compress(part).unwrap()).collect()
}
