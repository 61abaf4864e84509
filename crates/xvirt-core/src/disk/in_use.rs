//! Whether somebody else uses an image.

use std::path::Path;

use super::file::ImageFile;
use super::lock;
use crate::{Error, Result};

/// Whether an image can be opened for reading, and for writing too if `write`, and whether somebody has it locked for
/// writing; `None` for block devices, whose locks other hosts do not see. Takes no lock.
///
/// # Errors
/// The image cannot be opened; or its file system has no locks.
pub(crate) fn is_written(path: &Path, write: bool) -> Result<Option<bool>> {
    let file = ImageFile::open(path, write)?;
    if file.is_block_device() {
        return Ok(None);
    }
    let written = lock::is_written(file.as_file());
    written.map(Some).map_err(|e| Error::io(format!("cannot read the locks of disk image {}", path.display()), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Access, ImageFormat, create, open};

    #[test]
    fn an_image_that_is_open_for_writing_is_written_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        create(&path, ImageFormat::Raw, 1 << 20).unwrap();
        assert_eq!(is_written(&path, true).unwrap(), Some(false));
        for (access, written) in [(Access::ReadWrite, true), (Access::Shared, true), (Access::ReadOnly, false)] {
            let disk = open(&path, Some(ImageFormat::Raw), access).unwrap();
            assert_eq!(is_written(&path, true).unwrap(), Some(written), "{access:?}");
            drop(disk);
        }
        assert!(is_written(&folder.path().join("none"), false).is_err());
    }
}
