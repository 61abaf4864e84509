//! Writes the disks of an archive to images.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use xvirt_xva::{Appliance, Defect, DefectKind, DiskSink, ExpectedDisk, SalvagedDisk, Severity};

use super::damage::Damage;
use crate::disk::{self, Access, BlockBackend, ImageFormat, is_zero, write_bytes};
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

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

/// Creates the image of a disk, or `None` if the disk is not wanted. The image must read as zeroes.
type MakeImage<'a> = dyn Fn(&Appliance, &ExpectedDisk) -> Result<Option<Arc<dyn BlockBackend>>> + Sync + 'a;

/// Which defects of an archive are no error.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tolerance {
    /// Chunks without a checksum.
    pub(super) unchecked: bool,
    /// Defects of disks for which no image is made.
    pub(super) other_disks: bool,
    /// Damage, which is listed.
    pub(super) damage: bool,
}

/// Writes the disks of an archive into images; zeroes are skipped, because new images read as zeroes.
pub(super) struct Targets<'a> {
    make: Box<MakeImage<'a>>,
    tolerance: Tolerance,
    disks: OnceLock<Vec<Target>>,
    /// The tolerated defects that are not listed as damage, by kind: the first, and their number.
    tolerated: Mutex<BTreeMap<DefectKind, (String, u64)>>,
    /// The failure that ended reading early.
    ended: Mutex<Option<String>>,
    damage: Mutex<Damage>,
    /// Whether a defect was rejected.
    rejected: AtomicBool,
}

/// A disk of the archive, and its image if it is wanted.
struct Target {
    label: String,
    size: u64,
    image: Option<Arc<dyn BlockBackend>>,
}

impl<'a> Targets<'a> {
    /// Writes to the images that `make` creates.
    pub(super) fn new(
        tolerance: Tolerance,
        make: impl Fn(&Appliance, &ExpectedDisk) -> Result<Option<Arc<dyn BlockBackend>>> + Sync + 'a,
    ) -> Self {
        Self {
            make: Box::new(make),
            tolerance,
            disks: OnceLock::new(),
            tolerated: Mutex::default(),
            ended: Mutex::default(),
            damage: Mutex::default(),
            rejected: AtomicBool::new(false),
        }
    }

    /// Accepts the failure that ended reading, if enough is tolerated.
    ///
    /// # Errors
    /// The failure, if it is not.
    pub(super) fn ended_early(&self, failure: Error, disks: &[SalvagedDisk]) -> Result<()> {
        let of_archive = matches!(failure.kind(), ErrorKind::CorruptArchive | ErrorKind::UnsupportedArchive);
        let wanted = |index: &usize| self.target(*index).is_some_and(|target| target.image.is_some());
        let cut: Vec<_> = disks
            .iter()
            .enumerate()
            .filter(|(index, disk)| wanted(index) && disk.reached < disk.expected.size)
            .collect();
        let tolerated = self.tolerance.damage || (self.tolerance.other_disks && cut.is_empty());
        if !of_archive || !tolerated || self.rejected.load(Ordering::Acquire) {
            return Err(failure);
        }
        let why = failure.to_string();
        for (index, disk) in cut {
            lock(&self.damage).add(index, disk.reached..disk.expected.size, why.clone());
        }
        *lock(&self.ended) = Some(why);
        Ok(())
    }

    /// Puts everything on stable storage, and returns remarks about the archive, and the damaged ranges of its disks.
    pub(super) fn finish(self) -> Result<(Vec<String>, Vec<String>)> {
        let disks = self.disks.into_inner().unwrap_or_default();
        for disk in disks.iter().filter_map(|target| target.image.as_ref()) {
            disk.flush().map_err(|error| Error::io("cannot write a disk of the archive to stable storage", error))?;
        }
        let damage = self.damage.into_inner().unwrap_or_else(PoisonError::into_inner);
        let label = |disk: usize| disks.get(disk).map_or_else(String::new, |target| target.label.clone());
        let tolerated = self.tolerated.into_inner().unwrap_or_else(PoisonError::into_inner);
        let remark = |(first, count): (String, u64)| match count {
            1 => first,
            count => format!("{first} (and {} more of this kind)", count - 1),
        };
        let ended = self.ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((tolerated.into_values().map(remark).chain(ended).collect(), damage.lines(label)))
    }

    fn target(&self, disk: usize) -> Option<&Target> {
        self.disks.get().and_then(|disks| disks.get(disk))
    }

    fn remark(&self, defect: &Defect) {
        lock(&self.tolerated).entry(defect.kind).or_insert_with(|| (defect.error.message().to_owned(), 0)).1 += 1;
    }

    /// Whether what is not whole is tolerated. That of the wanted disks is listed, other than that there is a remark.
    fn accept_damage(&self, defect: &Defect) -> bool {
        match defect.disk.and_then(|index| Some((index, self.target(index)?))) {
            Some((index, target)) if self.tolerance.damage && target.image.is_some() => {
                let range = defect.range.clone().unwrap_or(0..target.size);
                lock(&self.damage).add(index, range, defect.error.to_string());
                return true;
            }
            Some((_, target)) if target.image.is_none() && self.tolerance.other_disks => {}
            _ if self.tolerance.damage => {}
            _ => return false,
        }
        self.remark(defect);
        true
    }
}

impl DiskSink for Targets<'_> {
    type Error = Error;

    fn begin(&self, appliance: &Appliance, disks: &[ExpectedDisk]) -> Result<()> {
        let target = |disk: &ExpectedDisk| {
            let place = appliance.disks.iter().position(|other| other.id == disk.id);
            let label = place.map_or_else(|| format!("memory image {}", disk.id), |index| format!("disk {index}"));
            Ok(Target { label, size: disk.size, image: (self.make)(appliance, disk)? })
        };
        let made = disks.iter().map(target).collect::<Result<Vec<_>>>()?;
        // This is called once.
        let _ = self.disks.set(made);
        Ok(())
    }

    fn write(&self, disk: usize, offset: u64, pieces: &[&[u8]]) -> Result<()> {
        let target = self.target(disk).and_then(|target| target.image.as_ref());
        let Some(target) = target.filter(|_| !pieces.iter().all(|piece| is_zero(piece))) else { return Ok(()) };
        write_bytes(&**target, pieces.iter().copied(), offset)
            .map_err(|error| Error::io(format!("cannot write byte {offset} of disk {disk} of the archive"), error))
    }

    fn defect(&self, defect: Defect) -> Result<()> {
        match defect.severity {
            Severity::Harmless => self.remark(&defect),
            Severity::Unchecked if self.tolerance.unchecked => self.remark(&defect),
            _ if self.accept_damage(&defect) => {}
            Severity::Unchecked => {
                self.rejected.store(true, Ordering::Release);
                let remedy = "export the VM again, or accept unchecked contents if you trust the file";
                return Err(defect.error.with_remedy(remedy).into());
            }
            _ => {
                self.rejected.store(true, Ordering::Release);
                return Err(defect.error.into());
            }
        }
        Ok(())
    }
}
