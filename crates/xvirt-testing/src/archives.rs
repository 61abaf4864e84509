//! Archives in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use xvirt_xva::ova::Document;
use xvirt_xva::{Appliance, DiskContents, DiskSink, ExpectedDisk, ReadOptions, Result, Summary, WriteOptions};

/// The contents of each disk, by its id in the archive.
pub type Disks = BTreeMap<String, Vec<u8>>;

/// An archive of a VM with these disks, whose sizes are rounded up to whole MiB.
pub fn archive(name: &str, disks: &[Vec<u8>], options: &WriteOptions) -> Vec<u8> {
    let mut document = Document::new_vm(name);
    let add = |disk: &Vec<u8>| document.add_disk("disk", disk.len() as u64).unwrap();
    let added: Vec<_> = disks.iter().map(add).collect();
    document.complete().unwrap();
    let contents: Vec<_> =
        added.iter().zip(disks).map(|(disk, source)| DiskContents { id: &disk.vdi, source }).collect();
    let mut archive = Vec::new();
    let size = xvirt_xva::write(&mut archive, &document, &contents, options, &()).unwrap();
    assert_eq!(size, archive.len() as u64);
    archive
}

/// Reads an archive and all its disks into memory.
///
/// # Errors
/// The archive cannot be read.
pub fn disks(archive: &[u8]) -> Result<(Summary, Disks)> {
    let memory = Memory::default();
    let summary = xvirt_xva::read(archive, &ReadOptions::default(), &memory, &())?;
    let disks = memory.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((summary, disks.into_iter().filter(|(disk, _)| disk.required).map(|(disk, bytes)| (disk.id, bytes)).collect()))
}

/// A sink that stores all disks in memory.
#[derive(Default)]
struct Memory(Mutex<Vec<(ExpectedDisk, Vec<u8>)>>);

impl DiskSink for Memory {
    type Error = xvirt_xva::Error;

    fn begin(&self, _: &Appliance, disks: &[ExpectedDisk]) -> Result<()> {
        let disk = |disk: &ExpectedDisk| (disk.clone(), vec![0; disk.size as usize]);
        *self.0.lock().unwrap() = disks.iter().map(disk).collect();
        Ok(())
    }

    fn write(&self, disk: usize, offset: u64, pieces: &[&[u8]]) -> Result<()> {
        let bytes = pieces.concat();
        self.0.lock().unwrap()[disk].1[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        Ok(())
    }
}
