//! The partitions of a disk: GPT, MBR with logical partitions, or no table.
//!
//! This is our own code, because the tables are small and the input is hostile: the `gpt` crate allocates what the
//! header claims, which can be terabytes.

mod gpt;
mod mbr;

use std::io;
use std::sync::Arc;

use super::filesystem;
use super::window::{Reads, Window, le16};
use crate::disk::BlockBackend;
use crate::error::{Error, ErrorKind, Result};
#[cfg(any(test, fuzzing))]
pub(super) use gpt::crc32;

/// The kind of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Whole,
    Mbr,
    Gpt,
}

/// A range of the disk that may hold a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// Linux's partition number, from 1; 0 is the whole disk.
    pub(super) number: u32,
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) scheme: Scheme,
    /// What a GPT says of it besides.
    pub(super) gpt: Option<Gpt>,
}

/// The type, the identity, the attributes and the name of a partition in a GPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gpt {
    pub(super) kind: uuid::Uuid,
    pub(super) id: uuid::Uuid,
    pub(super) attributes: u64,
    pub(super) name: String,
}

/// The partitions of `disk` in the order of their numbers, or the whole disk if there is no table.
pub(super) fn read(disk: &dyn BlockBackend, reads: &Arc<Reads>) -> Result<Vec<Partition>> {
    let window = Window::new(disk, 0, disk.capacity(), Arc::clone(reads));
    let capacity = window.length();
    let failed = |source| Error::io("cannot read the partition table", source);
    if capacity < 512 {
        return Err(Error::new(ErrorKind::NotBootable, format!("the disk is empty: it has {capacity} bytes"))
            .with_remedy("install an operating system on it, or give the kernel explicitly with Boot::kernel"));
    }
    // As in Linux, a GPT without a protective MBR is a leftover.
    let found = match mbr::is_real(&window).map_err(failed)? {
        true => gpt::Found::None,
        false => gpt::read(&window).map_err(failed)?,
    };
    let mut partitions = match found {
        gpt::Found::Table(partitions) => partitions,
        gpt::Found::Damaged(why) => {
            return Err(Error::new(ErrorKind::CorruptImage, format!("the GPT partition table is damaged: {why}"))
                .with_remedy("repair it with sgdisk, or give the kernel explicitly with Boot::kernel"));
        }
        gpt::Found::None => read_mbr(disk, reads, &window).map_err(failed)?,
    };
    partitions.retain(|partition| partition.length > 0 && partition.start < capacity);
    partitions.sort_by_key(|partition| partition.number);
    if partitions.is_empty() {
        partitions.push(Partition { number: 0, start: 0, length: capacity, scheme: Scheme::Whole, gpt: None });
    }
    Ok(partitions)
}

/// Reads an MBR, which counts in sectors and does not say how large these are. They are those with which more of its
/// partitions begin with something known; 512 bytes if it is the same.
fn read_mbr(disk: &dyn BlockBackend, reads: &Arc<Reads>, window: &Window<'_>) -> io::Result<Vec<Partition>> {
    let usual = mbr::read(window, 512)?;
    let count_known = |partitions: &[Partition]| {
        let is_known = |partition: &&Partition| {
            let window = Window::new(disk, partition.start, partition.length, Arc::clone(reads));
            // What cannot be read is not known.
            filesystem::is_known(&window).unwrap_or(false)
        };
        partitions.iter().filter(is_known).count()
    };
    let known = count_known(&usual);
    if known == usual.len() {
        return Ok(usual);
    }
    let large = mbr::read(window, 4096)?;
    Ok(if count_known(&large) > known { large } else { usual })
}

/// Whether the first sector has the signature of an MBR or a FAT boot sector.
fn has_boot_signature(sector: &[u8]) -> bool {
    le16(sector, 510) == 0xaa55
}

#[cfg(test)]
mod tests;
