//! The root of the host's files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder with `proc`, `sys`, `dev` and `etc`: `/`, or a simulated host in tests.
#[derive(Debug)]
pub(super) struct HostRoot(PathBuf);

impl HostRoot {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(super) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }

    pub(super) fn exists(&self, relative: &str) -> bool {
        self.path(relative).exists()
    }

    pub(super) fn read(&self, relative: &str) -> io::Result<String> {
        fs::read(self.path(relative)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The content of a file with a single value.
    pub(super) fn word(&self, relative: &str) -> Option<String> {
        self.read(relative).ok().map(|text| text.trim().to_owned())
    }

    pub(super) fn number(&self, relative: &str) -> Option<u64> {
        self.word(relative)?.parse().ok()
    }

    /// The sorted names in a folder; empty if it cannot be read.
    pub(super) fn names(&self, relative: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(relative))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}
