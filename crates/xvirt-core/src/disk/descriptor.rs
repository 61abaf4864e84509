//! Image files that the program passes as open descriptors.

use std::fs::File;

use rustix::fs::FileType;

use super::format::ImageFormat;
use crate::Result;
use crate::descriptor::{Descriptor, Use};

/// An open image file of a disk: the image itself, or one of its backing files.
///
/// The descriptor must be of a regular file or a block device and open for reading; that of the image itself also for
/// writing, unless its guest only reads. It must not have `O_APPEND`, with which Linux ignores the offset of a write,
/// nor `O_DIRECT`. Its own offset is not used, but is changed. Open a block device with `O_EXCL`, so that the host
/// cannot mount it.
///
/// The file is locked like one that is opened by its path. The lock belongs to the open file description
/// (`F_OFD_SETLK`, fcntl(2)), so duplicates made by dup(2) share it, in other processes too, and do not exclude each
/// other. Clones of this value do, and so do all values made of clones of one [`Descriptor`]. Open the file once for
/// each disk, and close the descriptors that were sent to another process.
#[derive(Clone, Debug)]
pub struct ImageDescriptor {
    descriptor: Descriptor,
    format: ImageFormat,
}

impl ImageDescriptor {
    /// An image file in this format.
    pub fn new(descriptor: impl Into<Descriptor>, format: ImageFormat) -> Self {
        Self { descriptor: descriptor.into(), format }
    }

    /// The descriptor.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The format of the image.
    pub fn format(&self) -> ImageFormat {
        self.format
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        self.descriptor.name()
    }

    /// Duplicates the descriptor, if it meets the requirements.
    pub(super) fn open(&self, write: bool) -> Result<File> {
        let how = if write { Use::ReadWrite } else { Use::Read };
        self.descriptor.file("a disk image", &[FileType::RegularFile, FileType::BlockDevice], how)
    }
}
