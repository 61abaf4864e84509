//! Image files that the program passes as open descriptors.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use rustix::fs::FileType;

use super::format::ImageFormat;
use super::lock::{self, Hold};
use crate::Result;
use crate::descriptor::{Descriptor, Use};

/// An open image file of a disk: the image itself, or one of its backing files.
///
/// The descriptor must be of a regular file or a block device and open for reading; that of the image itself also for writing,
/// unless its guest only reads. It must not have `O_APPEND`, with which Linux ignores the offset of a write, nor `O_DIRECT`. Its
/// own offset is not used, but is changed. Open a block device with `O_EXCL`, so that the host cannot mount it.
///
/// The file is locked like one that is opened by its path. The lock belongs to the open file description (`F_OFD_SETLK`,
/// fcntl(2)), so all duplicates of a descriptor share it, in other processes too, and do not exclude each other. Clones of this
/// value do. Open the file once for each disk, and close the descriptors that were sent to another process.
#[derive(Clone, Debug)]
pub struct ImageDescriptor {
    descriptor: Descriptor,
    format: ImageFormat,
    holders: Arc<Holders>,
}

impl ImageDescriptor {
    /// An image file in this format.
    pub fn new(descriptor: impl Into<Descriptor>, format: ImageFormat) -> Self {
        Self { descriptor: descriptor.into(), format, holders: Arc::default() }
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

    pub(super) fn holders(&self) -> Arc<Holders> {
        Arc::clone(&self.holders)
    }
}

/// The users of an open file description, for which the kernel keeps one lock.
#[derive(Debug, Default)]
pub(super) struct Holders(Mutex<Option<(Hold, usize)>>);

impl Holders {
    /// Like [`lock::acquire`], for one more user.
    pub(super) fn acquire(&self, file: &File, hold: Hold) -> io::Result<bool> {
        let mut held = crate::sync::lock(&self.0);
        match &mut *held {
            Some((how, count)) if *how == hold && hold != Hold::Exclusive => {
                *count += 1;
                Ok(true)
            }
            Some(_) => Ok(false),
            None => {
                let acquired = lock::acquire(file, hold)?;
                *held = acquired.then_some((hold, 1));
                Ok(acquired)
            }
        }
    }

    /// Removes one user. The last one releases the lock.
    pub(super) fn release(&self, file: &File) {
        let mut held = crate::sync::lock(&self.0);
        match &mut *held {
            Some((_, count)) if *count > 1 => *count -= 1,
            _ => {
                lock::release(file);
                *held = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_of_one_open_file_exclude_each_other_as_those_of_several_do() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let (file, holders) = (path.reopen().unwrap(), Holders::default());
        let elsewhere = |hold| {
            let other = path.reopen().unwrap();
            lock::acquire(&other, hold).unwrap()
        };
        assert!(holders.acquire(&file, Hold::Read).unwrap());
        assert!(holders.acquire(&file, Hold::Read).unwrap());
        assert!(!holders.acquire(&file, Hold::Exclusive).unwrap());
        holders.release(&file);
        assert!(!holders.acquire(&file, Hold::Exclusive).unwrap());
        assert!(!elsewhere(Hold::Exclusive), "the lock went with the first of two holders");
        holders.release(&file);
        assert!(elsewhere(Hold::Exclusive));
        assert!(holders.acquire(&file, Hold::Exclusive).unwrap());
        assert!(!holders.acquire(&file, Hold::Exclusive).unwrap());
        assert!(!elsewhere(Hold::Read));
    }
}
