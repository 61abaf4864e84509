//! Saved state in an open file that has no path here.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use uuid::Uuid;

use super::saved::{SavedImage, SavedState, in_file, require_unchanged};
use crate::config::Disk;
use crate::descriptor::{Descriptor, Use};
use crate::state::{StateReader, discard, is_discarded};
use crate::{Error, ErrorKind, Result};

const WHAT: &str = "saved state";

/// Saved state that the program passes as an open file.
#[derive(Debug)]
pub(super) struct SavedDescriptor {
    descriptor: Descriptor,
    /// Its name in messages, in the place of a path.
    name: PathBuf,
    /// The images of the disks, in the order of the configuration.
    images: Vec<Option<SavedImage>>,
}

impl SavedDescriptor {
    pub(super) fn new(descriptor: Descriptor) -> Self {
        Self { name: descriptor.name().into(), descriptor, images: Vec::new() }
    }

    /// Sets the images that the disks have to be.
    pub(super) fn with_images(mut self, images: Vec<Option<SavedImage>>) -> Self {
        self.images = images;
        self
    }

    /// The file, which has to be empty.
    pub(super) fn empty_file(&self) -> Result<File> {
        let file = self.file()?;
        match file.metadata().map_err(|e| Error::io(format!("cannot use {}", self.descriptor.name()), e))?.len() {
            0 => Ok(file),
            _ => Err(self.descriptor.unfit(WHAT, "the file is not empty").with_remedy("give a new file")),
        }
    }

    fn gone(&self) -> Error {
        let what = format!("the saved state in {} is gone", self.descriptor.name());
        Error::new(ErrorKind::NotFound, what).with_remedy("the VM was resumed or shut down by others")
    }

    fn file(&self) -> Result<File> {
        self.descriptor.file(WHAT, &[FileType::RegularFile], Use::ReadWrite)
    }
}

impl SavedState for SavedDescriptor {
    fn path(&self) -> &Path {
        &self.name
    }

    fn open(&self) -> Result<StateReader> {
        let file = self.file()?;
        if is_discarded(&file).map_err(|e| Error::io(format!("cannot read {}", self.descriptor.name()), e))? {
            return Err(self.gone());
        }
        let reader = StateReader::new(file).map_err(|error| in_file(&self.name, error))?;
        if reader.has_base() {
            let why = "it has only the memory that has changed since another checkpoint";
            return Err(self.descriptor.unfit(WHAT, why).with_remedy("flatten the checkpoint first"));
        }
        Ok(reader)
    }

    fn original(&self) -> Option<Uuid> {
        None
    }

    fn require_resumable(&self, disks: &[Disk]) -> Result<()> {
        require_unchanged(&self.images, disks)
    }

    fn discard(&self) -> Result<()> {
        match discard(&self.file()?) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.gone()),
            Err(error) => {
                Err(Error::io(format!("cannot discard the saved state in {}", self.descriptor.name()), error))
            }
        }
    }
}
