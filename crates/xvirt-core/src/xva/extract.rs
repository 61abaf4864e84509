//! Extracts the disks of an archive.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use xvirt_xva::{Appliance, ExpectedDisk, ReadOptions};

use super::target::{Targets, make_image};
use crate::disk::{BlockBackend, ImageFormat};
use crate::progress::Progress;
use crate::sync::lock;
use crate::{Error, Result};

/// Options for extracting disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Extract {
    /// The format of the images.
    pub format: ImageFormat,
    /// Accepts chunks without a checksum, instead of rejecting the archive.
    pub accept_unchecked: bool,
    /// Options for reading the archive.
    pub read: ReadOptions,
}

impl Default for Extract {
    fn default() -> Self {
        Self { format: ImageFormat::Raw, accept_unchecked: false, read: ReadOptions::default() }
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
    /// The image file of each disk, in the order of the appliance.
    pub disks: Vec<PathBuf>,
    /// The memory image, if the VM was exported suspended. Only Xen can use it.
    pub memory_image: Option<PathBuf>,
    /// Harmless oddities of the archive.
    pub remarks: Vec<String>,
}

/// Writes the disks of an archive as `disk-0.raw`, `disk-1.raw` … into `folder`, which is created if it does not exist,
/// and its metadata as `ova.xml`.
///
/// Each chunk is checked before it is written. When this returns, everything is on stable storage.
///
/// # Errors
/// The archive is damaged, incomplete or unsupported, or its window exceeds the limit; a file already exists, or cannot
/// be written; the operation was cancelled. Then no new file is left.
pub fn extract(
    input: impl Read + Send,
    folder: impl AsRef<Path>,
    options: &Extract,
    progress: &dyn Progress,
) -> Result<Extracted> {
    let files = Files::in_folder(folder.as_ref())?;
    let targets = Targets::new(options.accept_unchecked, |appliance, disk| files.make(appliance, disk, options.format));
    let read = xvirt_xva::read(input, &options.read, &targets, progress)?;
    let remarks = targets.finish()?;
    files.write("ova.xml", read.document.to_xml().as_bytes())?;
    let appliance = read.appliance;
    let path = |name: String| files.folder.join(name);
    let disks = (0..appliance.disks.len()).map(|index| path(disk_name(index, options.format))).collect();
    let memory_image = appliance.suspended.then(|| path(memory_name(options.format)));
    files.keep();
    Ok(Extracted { appliance, disks, memory_image, remarks })
}

fn disk_name(index: usize, format: ImageFormat) -> String {
    format!("disk-{index}.{format}")
}

fn memory_name(format: ImageFormat) -> String {
    format!("memory.{format}")
}

/// The created files, which are removed on drop unless they are kept.
struct Files {
    folder: PathBuf,
    made_folder: bool,
    made: Mutex<Vec<PathBuf>>,
}

impl Files {
    fn in_folder(folder: &Path) -> Result<Self> {
        let made_folder = !folder.exists();
        if made_folder {
            fs::create_dir(folder)
                .map_err(|error| Error::io(format!("cannot create folder {}", folder.display()), error))?;
        }
        Ok(Self { folder: folder.to_owned(), made_folder, made: Mutex::default() })
    }

    fn make(
        &self,
        appliance: &Appliance,
        disk: &ExpectedDisk,
        format: ImageFormat,
    ) -> Result<Option<Arc<dyn BlockBackend>>> {
        let name = match appliance.disks.iter().position(|other| other.id == disk.id) {
            Some(index) => disk_name(index, format),
            None if disk.required => memory_name(format),
            None => return Ok(None),
        };
        let path = self.folder.join(name);
        let image = make_image(&path, format, disk.size)?;
        lock(&self.made).push(path);
        Ok(Some(image))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        let cannot = |error| Error::io(format!("cannot write {}", path.display()), error);
        let mut file = fs::File::create_new(&path).map_err(cannot)?;
        lock(&self.made).push(path.clone());
        std::io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all()).map_err(cannot)
    }

    fn keep(mut self) {
        self.made_folder = false;
        lock(&self.made).clear();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // The reported error matters more than leftover files.
        for path in self.made.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let _ = fs::remove_file(path);
        }
        if self.made_folder {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}
