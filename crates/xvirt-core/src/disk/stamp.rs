//! Detects that the contents of an image were changed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ImageDescriptor;
use crate::named_file::NamedFile;
use crate::{Error, Result};

/// When an image was changed last, by its file system. Every write and every change of its length changes it; reading
/// and renaming do not. An image with the same contents that takes its place has to [keep](Self::keep) it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageStamp {
    /// Seconds since 1970, and nanoseconds.
    modified: (i64, i64),
}

impl ImageStamp {
    /// The stamp of the image at `path` now, also if another host has changed it.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::new(&metadata(path)?))
    }

    /// The stamp of an open image now; of one on NFS, as this host knew it when the file was opened.
    pub(crate) fn of_open(image: &ImageDescriptor) -> Result<Self> {
        let cannot = |error| Error::io(format!("cannot read when {} was changed", image.name()), error);
        Ok(Self::new(&image.open(false)?.metadata().map_err(cannot)?))
    }

    fn new(file: &Metadata) -> Self {
        Self { modified: (file.mtime(), file.mtime_nsec()) }
    }

    /// Gives `copy`, which has the contents of `image`, the same stamp, on stable storage.
    pub(crate) fn keep(image: &Path, copy: &Path) -> io::Result<()> {
        let modified = metadata(image)?.modified()?;
        let copy = File::options().write(true).open(copy)?;
        copy.set_modified(modified)?;
        copy.sync_all()
    }
}

/// The metadata of an image, through a descriptor: NFS only asks the server for the attributes of a file when it is opened
/// (close-to-open consistency, nfs(5)); by path, it may return those that it read some seconds ago.
fn metadata(path: &Path) -> io::Result<Metadata> {
    let found = NamedFile::find(path)?;
    if !found.is_file() && !found.is_block_device() {
        let what = format!("{} is {}", path.display(), found.description());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    match found.open(OpenOptions::new().read(true)) {
        Ok(file) => file.metadata(),
        // It was opened before this process lost the right to. What can be known of it without is better than nothing.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => fs::metadata(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::time::{Duration, SystemTime};

    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

    use super::*;

    #[test]
    fn an_image_is_opened_so_that_nfs_asks_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        fs::write(&path, "one").unwrap();
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, &path, WatchFlags::OPEN).unwrap();
        ImageStamp::of(&path).unwrap();
        let mut buffer = [MaybeUninit::uninit(); 256];
        let event = Reader::new(&watch, &mut buffer).next().unwrap().events();
        assert!(event.contains(ReadFlags::OPEN), "{event:?}");
        assert_eq!(ImageStamp::of(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_change_is_seen_and_a_new_name_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("image"), folder.path().join("other"));
        fs::write(&path, "one").unwrap();
        let before = ImageStamp::of(&path).unwrap();
        fs::rename(&path, &other).unwrap();
        fs::read(&other).unwrap();
        assert_eq!(ImageStamp::of(&other).unwrap(), before);
        fs::write(&path, "a copy of another length").unwrap();
        ImageStamp::keep(&other, &path).unwrap();
        assert_eq!(ImageStamp::of(&path).unwrap(), before);
        let file = File::options().write(true).open(&other).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_nanos(1_000_000)).unwrap();
        assert_ne!(ImageStamp::of(&other).unwrap(), before);
    }
}
