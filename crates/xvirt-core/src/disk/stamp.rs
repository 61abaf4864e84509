//! Detects that an image was changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What the file system says about the last change of an image. Every write changes it; reading and renaming do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageStamp {
    length: u64,
    /// Seconds since 1970, and nanoseconds.
    modified: (i64, i64),
}

impl ImageStamp {
    /// The stamp of the image at `path` now.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self { length: file.len(), modified: (file.mtime(), file.mtime_nsec()) })
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
        let file = fs::File::options().write(true).open(&other).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_nanos(1_000_000)).unwrap();
        assert_ne!(ImageStamp::of(&other).unwrap(), before);
    }
}
