//! Writes the disks of an archive to images.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use xvirt_xva::{Appliance, Defect, DiskSink, ExpectedDisk, Severity};

use crate::disk::{self, Access, BlockBackend, ImageFormat, is_zero, write_bytes};
use crate::sync::lock;
use crate::{Error, Result};

/// The unit and minimum size of disks.
const SECTOR: u64 = 512;

/// Creates the image of a disk, whose size in bytes is rounded up to whole sectors. On failure no file is left behind.
pub(super) fn make_image(path: &Path, format: ImageFormat, size: u64) -> Result<Arc<dyn BlockBackend>> {
    disk::create(path, format, size.next_multiple_of(SECTOR).max(SECTOR))?;
    disk::open(path, Some(format), Access::ReadWrite).inspect_err(|_| {
        // The reported error matters more than a leftover empty image.
        let _ = fs::remove_file(path);
    })
}

/// The most remarks about harmless defects.
const MAX_REMARKS: usize = 100;

/// Creates the image of a disk, or `None` if the disk is not wanted. The image must read as zeroes.
type MakeImage<'a> = dyn Fn(&Appliance, &ExpectedDisk) -> Result<Option<Arc<dyn BlockBackend>>> + Sync + 'a;

/// Writes the disks of an archive into images; zeroes are skipped, because new images read as zeroes.
pub(super) struct Targets<'a> {
    make: Box<MakeImage<'a>>,
    accept_unchecked: bool,
    disks: OnceLock<Vec<Option<Arc<dyn BlockBackend>>>>,
    remarks: Mutex<Vec<String>>,
}

impl<'a> Targets<'a> {
    /// Writes to the images that `make` creates. Chunks without a checksum are rejected unless `accept_unchecked`.
    pub(super) fn new(
        accept_unchecked: bool,
        make: impl Fn(&Appliance, &ExpectedDisk) -> Result<Option<Arc<dyn BlockBackend>>> + Sync + 'a,
    ) -> Self {
        Self { make: Box::new(make), accept_unchecked, disks: OnceLock::new(), remarks: Mutex::default() }
    }

    /// Puts everything on stable storage, and returns the remarks about the archive.
    pub(super) fn finish(self) -> Result<Vec<String>> {
        for disk in self.disks.into_inner().into_iter().flatten().flatten() {
            disk.flush().map_err(|error| Error::io("cannot write a disk of the archive to stable storage", error))?;
        }
        Ok(self.remarks.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl DiskSink for Targets<'_> {
    type Error = Error;

    fn begin(&self, appliance: &Appliance, disks: &[ExpectedDisk]) -> Result<()> {
        let made = disks.iter().map(|disk| (self.make)(appliance, disk)).collect::<Result<Vec<_>>>()?;
        // This is called once.
        let _ = self.disks.set(made);
        Ok(())
    }

    fn write(&self, disk: usize, offset: u64, pieces: &[&[u8]]) -> Result<()> {
        let target = self.disks.get().and_then(|disks| disks.get(disk)).and_then(Option::as_ref);
        let Some(target) = target.filter(|_| !pieces.iter().all(|piece| is_zero(piece))) else { return Ok(()) };
        write_bytes(&**target, pieces.iter().copied(), offset)
            .map_err(|error| Error::io(format!("cannot write byte {offset} of disk {disk} of the archive"), error))
    }

    fn defect(&self, defect: Defect) -> Result<()> {
        match defect.severity {
            Severity::Harmless => {}
            Severity::Unchecked if self.accept_unchecked => {}
            Severity::Unchecked => {
                let remedy = "export the VM again, or accept unchecked contents if you trust the file";
                return Err(defect.error.with_remedy(remedy).into());
            }
            _ => return Err(defect.error.into()),
        }
        let mut remarks = lock(&self.remarks);
        if remarks.len() < MAX_REMARKS {
            remarks.push(defect.error.to_string());
        }
        Ok(())
    }
}
