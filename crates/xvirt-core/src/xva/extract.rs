//! Extracts the disks of an archive.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use xvirt_xva::{Appliance, ExpectedDisk, ReadOptions};

use super::folder::DraftFolder;
use super::target::{Targets, Tolerance, make_image};
use crate::disk::{BlockBackend, ImageFormat};
use crate::progress::Progress;
use crate::{Error, ErrorKind, Result};

/// Options for extracting disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Extract {
    /// The format of the images.
    pub format: ImageFormat,
    /// Accepts chunks without a checksum, instead of rejecting the archive.
    pub accept_unchecked: bool,
    /// The only disk to extract, by its place in the appliance; all of them if absent. Damage elsewhere is then no
    /// error.
    pub disk: Option<u32>,
    /// Extracts what is whole of a damaged archive, instead of rejecting it.
    pub keep_going: bool,
    /// Options for reading the archive.
    pub read: ReadOptions,
}

impl Default for Extract {
    fn default() -> Self {
        Self {
            format: ImageFormat::Raw,
            accept_unchecked: false,
            disk: None,
            keep_going: false,
            read: ReadOptions::default(),
        }
    }
}

impl Extract {
    /// Sets the format of the images.
    #[must_use]
    pub fn format(mut self, format: ImageFormat) -> Self {
        self.format = format;
        self
    }

    /// Accepts chunks without a checksum.
    #[must_use]
    pub fn accept_unchecked(mut self) -> Self {
        self.accept_unchecked = true;
        self
    }

    /// Extracts only one disk, by its place in the appliance. Damage elsewhere in the archive is then no error.
    #[must_use]
    pub fn disk(mut self, index: u32) -> Self {
        self.disk = Some(index);
        self
    }

    /// Extracts what is whole of a damaged archive; [`Extracted::damage`] tells what is not.
    #[must_use]
    pub fn keep_going(mut self) -> Self {
        self.keep_going = true;
        self
    }

    /// Sets the options for reading the archive.
    #[must_use]
    pub fn read(mut self, options: ReadOptions) -> Self {
        self.read = options;
        self
    }
}

/// The contents of an archive.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Extracted {
    /// The VM.
    pub appliance: Appliance,
    /// The image files of the extracted disks, in the order of the appliance.
    pub disks: Vec<PathBuf>,
    /// The memory image, if the VM was exported suspended. Only Xen can use it.
    pub memory_image: Option<PathBuf>,
    /// Harmless oddities of the archive.
    pub remarks: Vec<String>,
    /// The ranges of disks that are not whole, and why: zeroes in the images where contents are damaged or missing,
    /// and contents without a checksum, unless those are accepted. Empty unless [`Extract::keep_going`] is set.
    pub damage: Vec<String>,
}

/// Writes the disks of an archive as `disk-0.raw`, `disk-1.raw` … into `folder`, which is created if it does not exist,
/// and its metadata as `ova.xml`.
///
/// Each chunk is checked before it is written. Until everything is complete and on stable storage, the files are in a
/// hidden folder inside `folder`.
///
/// # Errors
/// The archive is damaged, incomplete or unsupported, or its window exceeds the limit; it does not have the disk asked
/// for; a file already exists, or cannot be written; the operation was cancelled. Then no new file is left.
pub fn extract(
    input: impl Read + Send,
    folder: impl AsRef<Path>,
    options: &Extract,
    progress: &dyn Progress,
) -> Result<Extracted> {
    let files = DraftFolder::create(folder.as_ref())?;
    let make = |appliance: &Appliance, disk: &ExpectedDisk| make(&files, appliance, disk, options);
    let tolerance = Tolerance {
        unchecked: options.accept_unchecked,
        other_disks: options.disk.is_some(),
        damage: options.keep_going,
    };
    let targets = Targets::new(tolerance, make);
    let read = xvirt_xva::salvage(input, &options.read, &targets, progress)?;
    if let Some(failure) = read.failure {
        targets.ended_early(failure, &read.disks)?;
    }
    let (remarks, damage) = targets.finish()?;
    std::io::Write::write_all(&mut files.create_file("ova.xml")?, read.document.to_xml().as_bytes())
        .map_err(|error| Error::io("cannot write ova.xml", error))?;
    let appliance = read.appliance;
    let wanted = (0..appliance.disks.len()).filter(|index| is_wanted(*index, options));
    let disks = wanted.map(|index| files.path(&disk_name(index, options.format))).collect();
    let with_memory = appliance.suspended && options.disk.is_none();
    let memory_image = with_memory.then(|| files.path(&memory_name(options.format)));
    files.publish()?;
    Ok(Extracted { appliance, disks, memory_image, remarks, damage })
}

fn make(
    files: &DraftFolder,
    appliance: &Appliance,
    disk: &ExpectedDisk,
    options: &Extract,
) -> Result<Option<Arc<dyn BlockBackend>>> {
    if let Some(index) = options.disk.filter(|index| *index as usize >= appliance.disks.len()) {
        let what = format!("the archive has {} disks, and none with the number {index}", appliance.disks.len());
        return Err(Error::new(ErrorKind::NotFound, what).with_remedy("count from 0, in the order that inspect shows"));
    }
    let name = match appliance.disks.iter().position(|other| other.id == disk.id) {
        Some(index) if is_wanted(index, options) => disk_name(index, options.format),
        None if disk.required && options.disk.is_none() => memory_name(options.format),
        _ => return Ok(None),
    };
    make_image(&files.draft(&name)?, options.format, disk.size).map(Some)
}

fn is_wanted(index: usize, options: &Extract) -> bool {
    options.disk.is_none_or(|wanted| wanted as usize == index)
}

fn disk_name(index: usize, format: ImageFormat) -> String {
    format!("disk-{index}.{format}")
}

fn memory_name(format: ImageFormat) -> String {
    format!("memory.{format}")
}
