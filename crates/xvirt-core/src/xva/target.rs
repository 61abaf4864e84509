//! The images that the disks of an archive are written to.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use xvirt_xva::{Appliance, Defect, DiskSink, ExpectedDisk, Severity};

use crate::disk::{self, Access, BlockBackend, ImageFormat, is_zero, write_bytes};
use crate::sync::lock;
use crate::{Error, Result};

/// Disks consist of these, and have one at least.
const SECTOR: u64 = 512;

/// Makes the image of a disk of so many bytes, which become whole sectors. A failure leaves no file behind.
pub(super) fn make_image(path: &Path, format: ImageFormat, size: u64) -> Result<Arc<dyn BlockBackend>> {
    disk::create(path, format, size.next_multiple_of(SECTOR).max(SECTOR))?;
    disk::open(path, Some(format), Access::ReadWrite).inspect_err(|_| {
        // The error that is reported matters more than that an empty image stays.
        let _ = fs::remove_file(path);
    })
}

/// What is told of harmless defects at most.
const MAX_REMARKS: usize = 100;

/// Makes the image of a disk, or none where the disk is not wanted. The image must read as zeroes.
type MakeImage<'a> = dyn Fn(&Appliance, &ExpectedDisk) -> Result<Option<Arc<dyn BlockBackend>>> + Sync + 'a;

/// Writes the disks of an archive into images; zeroes are left out, because new images read as zeroes.
pub(super) struct Targets<'a> {
    make: Box<MakeImage<'a>>,
    accept_unchecked: bool,
    disks: OnceLock<Vec<Option<Arc<dyn BlockBackend>>>>,
    remarks: Mutex<Vec<String>>,
}

impl<'a> Targets<'a> {
    /// Writes to the images that `make` makes. Chunks without a checksum are refused unless `accept_unchecked`.
    pub(super) fn new(
        accept_unchecked: bool,
        make: impl Fn(&Appliance, &ExpectedDisk) -> Result<Option<Arc<dyn BlockBackend>>> + Sync + 'a,
    ) -> Self {
        Self { make: Box::new(make), accept_unchecked, disks: OnceLock::new(), remarks: Mutex::default() }
    }

    /// Puts everything on stable storage, and gives what is to be told of the archive.
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
        // There is one beginning.
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
