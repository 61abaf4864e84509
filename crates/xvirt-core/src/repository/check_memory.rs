//! Verifies the memory of suspended VMs, of checkpoints and of templates.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::check::Check;
use super::saved_state_files;
use crate::progress::Progress;
use crate::vm::verify_saved_memory;
use crate::{ErrorKind, Result};

/// Files with memory, each once, although instances of a template and checkpoints have the same one under many names.
#[derive(Debug, Default)]
pub(super) struct SavedMemory {
    files: Vec<Vec<Named>>,
    /// Where a file is in `files`, by its device and its inode.
    known: HashMap<(u64, u64), usize>,
}

/// A name of such a file.
#[derive(Debug)]
struct Named {
    path: PathBuf,
    /// Whose memory it has, and what to do if it is damaged.
    title: String,
    remedy: &'static str,
}

impl SavedMemory {
    /// Adds the files of the saved state in a folder.
    pub(super) fn add(&mut self, folder: &Path, title: &str, remedy: &'static str) {
        for path in saved_state_files().iter().map(|name| folder.join(name)) {
            let Ok(file) = fs::symlink_metadata(&path) else { continue };
            let index = *self.known.entry((file.dev(), file.ino())).or_insert(self.files.len());
            if index == self.files.len() {
                self.files.push(Vec::new());
            }
            if let Some(names) = self.files.get_mut(index) {
                names.push(Named { path, title: title.to_owned(), remedy });
            }
        }
    }

    /// Reads all of them. Those that were removed meanwhile are left out.
    pub(super) fn verify(self, progress: &dyn Progress, check: &mut Check) -> Result<()> {
        for names in self.files {
            for Named { path, title, remedy } in names {
                match verify_saved_memory(&path, progress) {
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                    Err(error) if error.is_shortage() => return Err(error),
                    Err(error) => {
                        let what = format!("the memory of {title} is damaged: {}", error.without_remedy());
                        check.add(what, remedy);
                    }
                    Ok(()) => {}
                }
                break;
            }
        }
        Ok(())
    }
}
