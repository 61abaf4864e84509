//! Whole files of saved state: what is written is read, and what is damaged is refused.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use serde::{Deserialize, Serialize};
use vm_memory::{Bytes, GuestAddress};
use xvirt_testing::random::Random;

use super::header::{Header, LENGTH};
use super::memory::{MemoryMap, MemoryRange, OFFSET, PAGE, read_chunk};
use super::{Kind, Section, StateReader, StateWriter};
use crate::memory::GuestRam;
use crate::progress::{Done, Progress};
use crate::{ErrorKind, Result};

const MIB: u64 = 1 << 20;
/// A range of several chunks that ends within one, and a second that begins in the same.
const RANGES: [(GuestAddress, usize); 2] = [(GuestAddress(0), 5 << 20), (GuestAddress(1 << 32), 3 << 20)];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Example {
    name: String,
    numbers: Vec<u64>,
    #[serde(default)]
    added: Option<u8>,
}

impl Section for Example {
    const KIND: Kind = Kind::Devices;
    const VERSION: u32 = 1;
}

fn example() -> Example {
    Example { name: "example".to_owned(), numbers: (0..100).collect(), added: Some(3) }
}

fn empty() -> GuestRam {
    GuestRam::from_ranges(&RANGES).unwrap()
}

/// Memory with few pages that are not zeroes, some of them at the ends of ranges and chunks.
fn filled() -> GuestRam {
    let ram = empty();
    for (number, address) in
        [0, 0x1fff, 2 * MIB - 1, 5 * MIB - 1, 3 * MIB + 5, 1 << 32, (1 << 32) + 3 * MIB - 1].iter().enumerate()
    {
        ram.write_obj(number as u8 + 1, GuestAddress(*address)).unwrap();
    }
    ram.write_slice(&[7; 3 * 4096], GuestAddress((1 << 32) + MIB)).unwrap();
    ram
}

fn contents(ram: &GuestRam) -> Vec<Vec<u8>> {
    let read = |(start, length)| {
        let mut bytes = vec![0; length];
        ram.read_slice(&mut bytes, start).unwrap();
        bytes
    };
    RANGES.map(read).into()
}

fn saved() -> File {
    let mut writer = StateWriter::new(tempfile::tempfile().unwrap());
    assert_eq!(writer.memory(&filled(), &()).unwrap(), 10 * 4096);
    writer.section(&example()).unwrap();
    writer.finish().unwrap()
}

/// What a file holds, if it is whole.
fn read(file: &File) -> Result<(Example, Vec<Vec<u8>>)> {
    let (reader, ram) = (StateReader::new(file.try_clone().unwrap())?, empty());
    reader.memory(&ram, &())?;
    Ok((reader.section()?, contents(&ram)))
}

fn copy_of(file: &File) -> File {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let copy = tempfile::tempfile().unwrap();
    copy.write_all_at(&bytes, 0).unwrap();
    copy
}

fn assert_refused(file: &File, what: &str) {
    match read(file) {
        Ok(_) => panic!("{what}: read as if whole"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::CorruptState, "{what}: {error}"),
    }
}

#[test]
fn what_was_saved_is_read() {
    let file = saved();
    assert_eq!(read(&file).unwrap(), (example(), contents(&filled())));
    // The sections behind memory take one block of the file system each at least.
    assert!(file.metadata().unwrap().blocks() * 512 < 20 * 4096, "pages of zeroes take space");
}

#[test]
fn saving_twice_gives_the_same_bytes() {
    let [first, second] = [saved(), saved()].map(|file| {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    });
    assert!(first == second);
}

#[test]
fn a_file_that_was_not_finished_is_not_saved_state() {
    let file = tempfile::tempfile().unwrap();
    let mut writer = StateWriter::new(file.try_clone().unwrap());
    writer.memory(&filled(), &()).unwrap();
    writer.section(&example()).unwrap();
    assert_refused(&file, "without a header");
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let file = saved();
    let mut bytes = [0; LENGTH];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let header = Header::decode(&bytes).unwrap();
    let ends = header.sections.iter().flat_map(|entry| [entry.offset, entry.offset + entry.length]);
    for end in ends.chain([0, 1, LENGTH as u64 - 1, LENGTH as u64, header.length - 1]) {
        let cut = copy_of(&file);
        cut.set_len(end).unwrap();
        assert_refused(&cut, &format!("cut off at {end} of {}", header.length));
    }
}

#[test]
fn damage_anywhere_is_refused() {
    let file = saved();
    let mut bytes = [0; LENGTH];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let header = Header::decode(&bytes).unwrap();
    let present = [0, 0x1000, 2 * MIB - 4096, 5 * MIB - 4096, 6 * MIB].map(|page| (OFFSET + page, 4096));
    let sections = header.sections.iter().filter(|entry| entry.checksum != 0).map(|entry| (entry.offset, entry.length));
    for (start, length) in sections.chain(present) {
        for offset in [start, start + length / 2, start + length - 1] {
            let damaged = copy_of(&file);
            let mut byte = [0];
            damaged.read_exact_at(&mut byte, offset).unwrap();
            damaged.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
            assert_refused(&damaged, &format!("another byte at {offset}"));
        }
    }
}

#[test]
fn ten_thousand_mutated_bodies_are_decoded_or_refused() {
    let body = super::section::encode(&example()).unwrap();
    let (mut random, mut refused) = (Random::new(11), 0);
    for _ in 0..10_000 {
        let mut bytes = body.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.byte();
        }
        bytes.truncate(bytes.len() - random.below(2) * random.below(bytes.len()));
        match super::section::decode::<Example>(&bytes, 1) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::CorruptState);
                refused += 1;
            }
        }
    }
    assert!(refused > 5000, "{refused}");
}

#[test]
fn sections_of_other_kinds_and_versions_are_named() {
    let file = saved();
    let change = |offset: usize, value: u32| {
        let mut bytes = [0; LENGTH];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let mut header = Header::decode(&bytes).unwrap();
        let entry = header.sections.last_mut().unwrap();
        match offset {
            0 => entry.kind = value,
            _ => entry.version = value,
        }
        let changed = copy_of(&file);
        changed.write_all_at(&header.encode(), 0).unwrap();
        read(&changed).unwrap_err()
    };
    let error = change(0, 77);
    assert_eq!(error.kind(), ErrorKind::UnsupportedState);
    assert!(error.message().starts_with("it has a section of unknown kind 77, written by xvirt "), "{error}");
    let error = change(1, 2);
    assert_eq!(error.kind(), ErrorKind::UnsupportedState);
    assert_eq!(error.message(), "section 'devices' has version 2; this version of xvirt reads 1");
    assert_eq!(change(0, Kind::MemoryMap as u32).message(), "it has section 'memory map' twice");
}

#[test]
fn fields_of_newer_minor_versions_are_skipped_and_missing_ones_have_defaults() {
    #[derive(Serialize)]
    struct Newer {
        name: String,
        later: Vec<String>,
        numbers: Vec<u64>,
    }
    let newer = Newer { name: "n".to_owned(), later: vec!["l".to_owned()], numbers: vec![1] };
    let bytes = rmp_serde::to_vec_named(&newer).unwrap();
    let expected = Example { name: "n".to_owned(), numbers: vec![1], added: None };
    assert_eq!(super::section::decode::<Example>(&bytes, 1).unwrap(), expected);
}

#[test]
fn other_memory_is_refused() {
    let reader = StateReader::new(saved()).unwrap();
    let smaller = GuestRam::from_ranges(&[(GuestAddress(0), 5 << 20)]).unwrap();
    assert_eq!(reader.memory(&smaller, &()).unwrap_err().kind(), ErrorKind::InvalidConfig);
}

/// Cancels when some bytes are done.
struct After(u64, std::sync::atomic::AtomicBool);

impl Progress for After {
    fn report(&self, done: Done) {
        assert_eq!(done.total, Some(8 * MIB));
        self.1.fetch_or(done.bytes >= self.0, std::sync::atomic::Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.1.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn saving_and_loading_can_be_cancelled() {
    for bytes in [0, 2 * MIB] {
        let after = || After(bytes, Default::default());
        let mut writer = StateWriter::new(tempfile::tempfile().unwrap());
        assert_eq!(writer.memory(&filled(), &after()).unwrap_err().kind(), ErrorKind::Cancelled);
        let reader = StateReader::new(saved()).unwrap();
        assert_eq!(reader.memory(&empty(), &after()).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

#[test]
fn bits_of_the_memory_map_behind_the_memory_mean_nothing() {
    let (bytes, length) = (vec![7; 3 * PAGE], 3 * PAGE as u64);
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[7; 8 * PAGE], OFFSET).unwrap();
    let ranges = vec![MemoryRange { address: 0, length }];
    let map = MemoryMap { ranges, present: vec![0xff], checksums: vec![crc32c::crc32c(&bytes)] };
    map.check(length).unwrap();
    let mut read = vec![0; bytes.len()];
    read_chunk(&map, None, &file, 0, &mut read).unwrap();
    assert_eq!(read, bytes);
}
