//! Detects that the contents of an image were changed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// When an image was changed last, by its file system. Every write and every change of its length changes it; reading
/// and renaming do not. An image with the same contents that takes its place has to [keep](Self::keep) it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageStamp {
    /// Seconds since 1970, and nanoseconds.
    modified: (i64, i64),
}

impl ImageStamp {
    /// The stamp of the image at `path` now.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self { modified: (file.mtime(), file.mtime_nsec()) })
    }

    /// Gives `copy`, which has the contents of `image`, the same stamp, on stable storage.
    pub(crate) fn keep(image: &Path, copy: &Path) -> io::Result<()> {
        let modified = fs::metadata(image)?.modified()?;
        let copy = File::options().write(true).open(copy)?;
        copy.set_modified(modified)?;
        copy.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

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
