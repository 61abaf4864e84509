//! File systems for a test.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of its own, mounted until this is dropped.
pub struct Mount(pub PathBuf);

impl Mount {
    /// Mounts at a folder, which is created. If that is not possible, prints that `test` is skipped and returns `None`.
    pub fn new(test: &str, at: &Path, arguments: &[&str]) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let output = Command::new("mount").args(arguments).arg(at).output();
        if output.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        println!("SKIPPED {test}: cannot mount {arguments:?}");
        None
    }

    /// Fills all remaining space with a file; removing the file frees the space.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).unwrap();
        let error = (0..).find_map(|_| file.write_all(&[1; 4096]).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
