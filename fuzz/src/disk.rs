//! Sparse in-memory disks, for fuzzing code that reads disks.

use std::collections::BTreeMap;
use std::io;

use xvirt_core::disk::{BlockBackend, GuestSlice};

const SECTOR: usize = 512;

/// A read-only disk.
#[derive(Debug)]
pub struct SparseDisk {
    capacity: u64,
    sectors: BTreeMap<u64, [u8; SECTOR]>,
}

impl SparseDisk {
    /// A disk with these sectors, by number; missing ones are zeroes.
    pub fn new(sectors: u64, contents: impl IntoIterator<Item = (u64, [u8; SECTOR])>) -> Self {
        Self { capacity: sectors * SECTOR as u64, sectors: contents.into_iter().collect() }
    }

    /// Parses the number of sectors (32 bits), and then for each stored sector its number (32 bits), the length of its
    /// data up to the last non-zero byte (16 bits), and that data.
    pub fn parse(mut data: &[u8]) -> Option<Self> {
        let mut take = |count: usize| {
            let (start, rest) = data.split_at_checked(count)?;
            data = rest;
            Some(start)
        };
        let sectors = u32::from_le_bytes(take(4)?.try_into().ok()?);
        let mut contents = BTreeMap::new();
        while let Some(header) = take(6) {
            let number = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            let length = usize::from(u16::from_le_bytes([header[4], header[5]])) % (SECTOR + 1);
            let Some(bytes) = take(length) else { break };
            let mut sector = [0; SECTOR];
            sector[..length].copy_from_slice(bytes);
            contents.insert(u64::from(number % sectors.max(1)), sector);
        }
        Some(Self::new(sectors.into(), contents))
    }

    /// Reads bytes of the disk, across sectors.
    pub fn bytes(&self, offset: u64, into: &mut [u8]) {
        for (at, byte) in (offset..).zip(into) {
            let sector = self.sectors.get(&(at / SECTOR as u64));
            *byte = sector.map_or(0, |sector| sector[at as usize % SECTOR]);
        }
    }

    /// Changes bytes of the disk.
    pub fn change(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            self.sectors.entry(at / SECTOR as u64).or_insert([0; SECTOR])[at as usize % SECTOR] = *byte;
        }
    }
}

impl BlockBackend for SparseDisk {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let total: u64 = buffers.iter().map(|buffer| buffer.len() as u64).sum();
        let end = offset.checked_add(total).expect("no read wraps around");
        assert!(end <= self.capacity, "asked for what is beyond the disk");
        let mut at = offset;
        for buffer in buffers {
            let mut bytes = vec![0; buffer.len()];
            let mut done = 0;
            while done < bytes.len() {
                let within = (at as usize) % SECTOR;
                let count = (SECTOR - within).min(bytes.len() - done);
                if let Some(sector) = self.sectors.get(&(at / SECTOR as u64)) {
                    bytes[done..done + count].copy_from_slice(&sector[within..within + count]);
                }
                done += count;
                at += count as u64;
            }
            buffer.copy_from(&bytes);
        }
        Ok(())
    }

    fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        panic!("a reader writes")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        panic!("a reader discards")
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        panic!("a reader writes")
    }
}
