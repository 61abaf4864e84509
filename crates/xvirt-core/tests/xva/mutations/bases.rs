//! The archives that are damaged.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};

use xvirt_core::config::{Disk, VmConfig};
use xvirt_core::xva::{self, Checksum, Export};

use crate::support::*;

const MIB: usize = 1 << 20;

/// The contents of each disk, by its id in the archive.
pub type Disks = BTreeMap<String, Vec<u8>>;

/// The id under which an image of memory is kept with the disks.
pub const MEMORY: &str = "memory";

/// An archive that is whole.
pub struct Base {
    pub name: &'static str,
    /// Decompressed.
    pub plain: Vec<u8>,
    pub packed: Vec<u8>,
    pub pack: fn(&[u8]) -> Vec<u8>,
    pub disks: Disks,
    /// Whether the numbers of its chunks say where they are: there are no chunks without bytes.
    pub regular: bool,
    /// How many damaged archives are made of it: fewer where it is big.
    pub cases: usize,
}

pub fn all() -> Vec<Base> {
    let plain = ours(&Export::none());
    let base = |name, plain: &[u8], packed: Vec<u8>, pack: fn(&[u8]) -> Vec<u8>, regular| {
        let folder = tempfile::tempdir().unwrap();
        let extracted = extract(plain, folder.path()).unwrap();
        let memory = extracted.memory_image.iter().map(|path| (MEMORY.to_owned(), fs::read(path).unwrap()));
        let ids = extracted.appliance.disks.iter().map(|disk| disk.id.clone());
        let disks = ids.zip(extracted.disks.iter().map(|path| fs::read(path).unwrap())).chain(memory).collect();
        Base { name, plain: plain.to_vec(), packed, pack, disks, regular, cases: 320 }
    };
    let sample = |name, regular| {
        let bytes = sample(name);
        Base { cases: 50, ..base(name, &bytes, bytes.clone(), <[u8]>::to_vec, regular) }
    };
    let sha1 = ours(&Export::none().checksum(Checksum::Sha1));
    let zstd = ours(&Export::zstd());
    let gzip = ours(&Export::gzip());
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

/// A small VM: a disk with data, a hole and an end that is no zeroes, and one that ends with zeroes.
fn ours(options: &Export) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let disk = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        Disk::raw(path)
    };
    // A little noise in each chunk, and text that packs well.
    let chunk = |seed| {
        let mut bytes = format!("chunk {seed} ").into_bytes().repeat(MIB / 8);
        bytes[..20_000].copy_from_slice(&pattern(seed, 20_000));
        bytes.truncate(MIB);
        bytes
    };
    let root = [chunk(1), chunk(2), vec![0; MIB], chunk(3), chunk(4)].concat();
    let mut data = [chunk(5), chunk(6)].concat();
    data[MIB + 30_000..].fill(0);
    let config = VmConfig::new("damaged").disk(disk("root", root)).disk(disk("data", data));
    let mut archive = Vec::new();
    xva::export(&config, &mut archive, options, &()).unwrap();
    archive
}

fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut plain).unwrap();
    plain
}

/// Members of gzip whose ends have nothing to do with those of chunks.
fn members(plain: &[u8]) -> Vec<u8> {
    plain.chunks(700_000).fold(Vec::new(), |packed, part| {
        let mut member = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        member.write_all(part).unwrap();
        member.finish().unwrap()
    })
}

/// As XenServer packs: one frame, whose size is not told.
fn one_frame(plain: &[u8]) -> Vec<u8> {
    let mut frame = zstd::Encoder::new(Vec::new(), 1).unwrap();
    frame.include_checksum(true).unwrap();
    frame.write_all(plain).unwrap();
    frame.finish().unwrap()
}

/// Frames whose ends have nothing to do with those of chunks.
fn frames(plain: &[u8]) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor.include_checksum(true).unwrap();
    plain.chunks(700_000).flat_map(|part| compressor.compress(part).unwrap()).collect()
}
