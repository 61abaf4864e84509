//! The pages of a guest's memory in a file.
//!
//! Memory lies in the file as in the guest, its ranges one behind the other, so each page has a place that depends on
//! nothing else. Pages of zeroes are left out, and stay holes in the file. The memory map says which pages are there.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::base::MemoryBase;
use super::header::damaged;
use super::parallel::{Work, divide};
use super::section::{Kind, Section};
use crate::memory::{
    GuestRam, GuestSlice, MemoryBacking, append_slices, clear_files, map_privately, ram_ranges, with_zeroes,
};
use crate::progress::Progress;
use crate::size::ByteSize;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The unit in which memory is there or left out, in bytes.
pub(crate) const PAGE: usize = 4096;
/// The unit that has a checksum, and that a thread works on, in bytes.
pub(super) const CHUNK: usize = 2 << 20;
pub(super) const CHUNK_PAGES: usize = CHUNK / PAGE;
/// Where so many bytes are not in the file, they are not mapped from it: new memory is faster, and can be in huge pages.
const ABSENT: u64 = 8 << 20;
/// Where memory begins in the file: at a multiple of what huge pages need to be mapped.
pub(super) const OFFSET: u64 = CHUNK as u64;

/// Which pages of memory are in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemoryMap {
    /// The ranges of guest memory in the order in which they lie in the file, one directly behind the other.
    pub(crate) ranges: Vec<MemoryRange>,
    /// A bit for each page of 4 KiB, the lowest bit of the first byte for the first page: it is in the file. Other
    /// pages are zeroes.
    #[serde(with = "serde_bytes")]
    pub(super) present: Vec<u8>,
    /// For each 2 MiB of the file, the CRC-32C of the pages in it that are there.
    pub(super) checksums: Vec<u32>,
}

/// A range of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemoryRange {
    /// The guest's address.
    pub(crate) address: u64,
    /// The length in bytes, a multiple of a page.
    pub(crate) length: u64,
}

impl Section for MemoryMap {
    const KIND: Kind = Kind::MemoryMap;
    const VERSION: u32 = 1;
}

impl MemoryMap {
    /// How many bytes of memory the guest has.
    pub(super) fn length(&self) -> u64 {
        total(&self.ranges)
    }

    /// How many bytes of memory are in the file.
    pub(super) fn bytes_present(&self) -> u64 {
        self.present.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>() * PAGE as u64
    }

    /// Checks that it is consistent in itself and describes `length` bytes of the file.
    pub(super) fn check(&self, length: u64) -> Result<()> {
        let mut sum = Some(0_u64);
        for range in &self.ranges {
            if !range.address.is_multiple_of(PAGE as u64) || !range.length.is_multiple_of(PAGE as u64) {
                return Err(damaged("its memory map has a range that is not aligned to pages"));
            }
            sum = sum.and_then(|sum| sum.checked_add(range.length));
        }
        if sum != Some(length) {
            return Err(damaged("its memory map and its memory differ in length"));
        }
        let (pages, chunks) = (length / PAGE as u64, length.div_ceil(CHUNK as u64));
        if self.present.len() as u64 != pages.div_ceil(8) || self.checksums.len() as u64 != chunks {
            return Err(damaged("its memory map does not cover its memory"));
        }
        Ok(())
    }

    /// The guest's memory that is in the file, in ranges of addresses.
    pub(super) fn present(&self) -> Vec<Range<u64>> {
        let chunks = 0..self.checksums.len();
        let runs = chunks.flat_map(|number| {
            let start = (number * CHUNK) as u64;
            self.runs(number).into_iter().map(move |run| start + run.start as u64..start + run.end as u64)
        });
        self.addresses_of(&joined(runs))
    }

    /// The guest's memory of which long parts are not in the file, in ranges of addresses.
    fn absent(&self) -> Vec<Range<u64>> {
        let is_absent = |bits: &[u8]| bits.iter().all(|byte| *byte == 0);
        let chunks = self.present.chunks(CHUNK_PAGES / 8).enumerate();
        let absent = chunks.filter(|(_, bits)| is_absent(bits)).map(|(number, _)| {
            let start = (number * CHUNK) as u64;
            start..self.length().min(start + CHUNK as u64)
        });
        let mut absent = joined(absent);
        absent.retain(|range| range.end - range.start >= ABSENT);
        self.addresses_of(&absent)
    }

    /// The addresses of parts of memory that are counted over all ranges.
    fn addresses_of(&self, parts: &[Range<u64>]) -> Vec<Range<u64>> {
        let (mut addresses, mut start) = (Vec::new(), 0);
        for range in &self.ranges {
            let end = start + range.length;
            let inside = parts.iter().map(|part| part.start.max(start)..part.end.min(end));
            let inside = inside.filter(|part| part.start < part.end);
            addresses
                .extend(inside.map(|part| range.address + (part.start - start)..range.address + (part.end - start)));
            start = end;
        }
        addresses
    }

    /// The pages of chunk `number` that are zeroes, of a file that is based on another.
    fn zeroes<'a>(&'a self, number: usize, base: &'a MemoryBase) -> impl Iterator<Item = usize> + use<'a> {
        self.pages_of(number).filter(move |page| !self.has(*page) && !base.inherits(*page))
    }

    /// The pages of chunk `number` that are in the file, in runs, as bytes from the start of the chunk.
    fn runs(&self, number: usize) -> Vec<Range<usize>> {
        runs(self.pages_of(number).map(|page| self.has(page)))
    }

    /// Whether a page of chunk `number` is in the file.
    pub(super) fn has_any(&self, number: usize) -> bool {
        self.pages_of(number).any(|page| self.has(page))
    }

    /// The pages of chunk `number`.
    fn pages_of(&self, number: usize) -> Range<usize> {
        let first = number * CHUNK_PAGES;
        first..(first + CHUNK_PAGES).min((self.length() / PAGE as u64) as usize)
    }

    /// Whether a page is in the file.
    fn has(&self, page: usize) -> bool {
        self.present.get(page / 8).is_some_and(|byte| byte >> (page % 8) & 1 == 1)
    }
}

/// The ranges of a guest's memory.
pub(crate) fn ranges_of(ram: &GuestRam) -> Vec<MemoryRange> {
    ram.iter().map(|region| MemoryRange { address: region.start_addr().0, length: region.len() }).collect()
}

/// Writes the pages of a guest that does not run to `file`, whose memory begins at [`OFFSET`]. The file must be new:
/// what is not written has to be a hole in it.
pub(super) fn save(ram: &GuestRam, file: &File, progress: &dyn Progress) -> Result<MemoryMap> {
    let ranges = ranges_of(ram);
    let length = total(&ranges);
    let chunks = length.div_ceil(CHUNK as u64);
    let pages = usize::try_from(length / PAGE as u64).map_err(|_| too_large())?;
    let chunk_count = usize::try_from(chunks).map_err(|_| too_large())?;
    let map =
        MemoryMap { ranges: ranges.clone(), present: vec![0; pages.div_ceil(8)], checksums: vec![0; chunk_count] };
    let map = Mutex::new(map);
    let work = Work { parts: chunks, bytes: length, name: "saving the guest's memory", progress };
    divide(
        &work,
        || vec![0; CHUNK],
        |number, buffer| {
            let index = number as usize;
            let bytes = &mut buffer[..chunk_length(length, number)];
            read_guest(ram, &ranges, number * CHUNK as u64, bytes)?;
            let present: Vec<_> = bytes.chunks(PAGE).map(|page| !is_zero(page)).collect();
            let mut checksum = 0;
            for run in runs(present.iter().copied()) {
                let pages = &bytes[run.start..run.end.min(bytes.len())];
                checksum = crc32c::crc32c_append(checksum, pages);
                let offset = OFFSET + number * CHUNK as u64 + run.start as u64;
                file.write_all_at(pages, offset).map_err(|e| Error::io("cannot write the guest's memory", e))?;
            }
            let mut map = lock(&map);
            map.checksums[index] = checksum;
            for (page, _) in present.iter().enumerate().filter(|(_, present)| **present) {
                let page = index * CHUNK_PAGES + page;
                map.present[page / 8] |= 1 << (page % 8);
            }
            Ok(bytes.len() as u64)
        },
    )?;
    Ok(map.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Reads the pages that `map` says are in `file` into memory. Others become zeroes, except those that are as in the `base`,
/// whose memory is there already.
pub(super) fn load(
    map: &MemoryMap,
    base: Option<&MemoryBase>,
    file: &File,
    ram: &GuestRam,
    progress: &dyn Progress,
) -> Result<()> {
    require_ranges(&map.ranges, &ranges_of(ram))?;
    if base.is_none() {
        clear_files(ram).map_err(|e| Error::io("cannot clear the file of the guest's memory", e))?;
    }
    let length = map.length();
    let work =
        Work { parts: length.div_ceil(CHUNK as u64), bytes: length, name: "loading the guest's memory", progress };
    divide(
        &work,
        || vec![0; CHUNK],
        |number, buffer| {
            for run in read_present(map, file, number, buffer)? {
                let start = number * CHUNK as u64 + run.start as u64;
                write_guest(ram, &map.ranges, start, &buffer[run])?;
            }
            for page in base.iter().flat_map(|base| map.zeroes(number as usize, base)) {
                guest_slices(ram, &map.ranges, page as u64 * PAGE as u64, PAGE)?
                    .iter()
                    .filter(|slice| !slice.is_zero())
                    .for_each(|slice| slice.copy_from(&[0; PAGE]));
            }
            Ok(chunk_length(length, number) as u64)
        },
    )
}

/// Maps memory of `size` privately from `file`. Where long parts are not in the file, memory is new.
pub(super) fn map(map: &MemoryMap, file: &Arc<File>, size: ByteSize, backing: &MemoryBacking) -> Result<GuestRam> {
    let ranges = ram_ranges(size.bytes());
    let expected: Vec<_> = ranges.iter().map(|&(address, length)| MemoryRange { address, length }).collect();
    require_ranges(&map.ranges, &expected)?;
    let ram = map_privately(&ranges, file, OFFSET, backing)?;
    for range in map.absent() {
        with_zeroes(&ram, range).map_err(|e| Error::io("cannot map guest memory that is all zeroes", e))?;
    }
    Ok(ram)
}

/// Fails unless memory that was saved with ranges `saved` fits the `ranges` of a VM.
pub(super) fn require_ranges(saved: &[MemoryRange], ranges: &[MemoryRange]) -> Result<()> {
    if saved == ranges {
        return Ok(());
    }
    let what = format!("its guest has {} bytes of memory, and not as much as the VM", total(saved));
    Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("restore it with the memory it was saved with"))
}

/// Reads chunk `number` of memory from a file into `bytes`, which has that of the `base` already.
pub(super) fn read_chunk(
    map: &MemoryMap,
    base: Option<&MemoryBase>,
    file: &File,
    number: u64,
    bytes: &mut [u8],
) -> Result<()> {
    match base {
        None => bytes.fill(0),
        Some(base) => map.zeroes(number as usize, base).for_each(|page| {
            let start = (page - number as usize * CHUNK_PAGES) * PAGE;
            bytes[start..start + PAGE].fill(0);
        }),
    }
    read_present(map, file, number, bytes).map(drop)
}

/// Reads the pages of chunk `number` that are in the file to their places in `bytes`, and returns their runs.
fn read_present(map: &MemoryMap, file: &File, number: u64, bytes: &mut [u8]) -> Result<Vec<Range<usize>>> {
    let (runs, mut checksum) = (map.runs(number as usize), 0);
    for run in &runs {
        let part = &mut bytes[run.clone()];
        let offset = OFFSET + number * CHUNK as u64 + run.start as u64;
        file.read_exact_at(part, offset).map_err(|e| Error::io("cannot read the guest's memory", e))?;
        checksum = crc32c::crc32c_append(checksum, part);
    }
    if map.checksums.get(number as usize) == Some(&checksum) {
        return Ok(runs);
    }
    let from = number * CHUNK as u64;
    Err(damaged(format!("the checksum of its memory from byte {from} on is wrong")))
}

/// Copies guest memory from `position`, counted over all ranges, into `bytes`.
pub(super) fn read_guest(ram: &GuestRam, ranges: &[MemoryRange], position: u64, bytes: &mut [u8]) -> Result<()> {
    let mut done = 0;
    for slice in guest_slices(ram, ranges, position, bytes.len())? {
        done += slice.copy_to(&mut bytes[done..]);
    }
    Ok(())
}

/// Copies `bytes` to guest memory at `position`, counted over all ranges.
fn write_guest(ram: &GuestRam, ranges: &[MemoryRange], position: u64, bytes: &[u8]) -> Result<()> {
    let mut done = 0;
    for slice in guest_slices(ram, ranges, position, bytes.len())? {
        slice.copy_from(&bytes[done..]);
        done += slice.len();
    }
    Ok(())
}

/// The guest memory at `position`, counted over all ranges.
pub(crate) fn guest_slices<'a>(
    ram: &'a GuestRam,
    ranges: &[MemoryRange],
    position: u64,
    length: usize,
) -> Result<Vec<GuestSlice<'a>>> {
    let mut slices = Vec::new();
    let (mut start, mut position, mut left) = (0, position, length as u64);
    for range in ranges {
        let end = start + range.length;
        if left > 0 && position < end {
            let part = left.min(end - position);
            append_slices(ram, range.address + (position - start), part as usize, &mut slices).ok_or_else(outside)?;
            (position, left) = (position + part, left - part);
        }
        start = end;
    }
    if left > 0 { Err(outside()) } else { Ok(slices) }
}

/// Ranges in ascending order, those that touch joined.
pub(super) fn joined(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

/// The runs of pages that are `present`, as bytes.
pub(super) fn runs(present: impl Iterator<Item = bool>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (page, _) in present.enumerate().filter(|(_, present)| *present) {
        let start = page * PAGE;
        match runs.last_mut() {
            Some(last) if last.end == start => last.end += PAGE,
            _ => runs.push(start..start + PAGE),
        }
    }
    runs
}

/// Whether all bytes are zero.
pub(super) fn is_zero(page: &[u8]) -> bool {
    // Most pages differ from zero early, if at all.
    let (head, rest) = page.split_at(page.len().min(64));
    head.iter().all(|byte| *byte == 0) && rest.chunks(256).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

pub(super) fn total(ranges: &[MemoryRange]) -> u64 {
    ranges.iter().map(|range| range.length).sum()
}

pub(super) fn chunk_length(length: u64, number: u64) -> usize {
    (length - number * CHUNK as u64).min(CHUNK as u64) as usize
}

fn outside() -> Error {
    Error::new(ErrorKind::InvalidConfig, "a range of memory is not guest memory")
}

pub(super) fn too_large() -> Error {
    Error::new(ErrorKind::LimitExceeded, "the guest has more memory than can be saved")
}
