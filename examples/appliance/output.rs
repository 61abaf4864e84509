//! The destination of an archive: a file that appears only when it is complete, or standard output.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use xvirt_core::config::{DiskSource, VmConfig};
use xvirt_core::xva::Exported;

use crate::failure::{Failure, Result, note};
use crate::table::{Size, print};

const STDOUT: &str = "standard output";

/// An archive to write. Until [`finish`](Self::finish), the file has a temporary name, and is removed if that is not
/// called. Only its owner may read it, because it contains disks.
#[derive(Debug)]
pub enum Output {
    Stream(File),
    File { draft: NamedTempFile, path: PathBuf, replace: bool },
}

impl Output {
    /// Creates an archive of `vm`; `-` is standard output. An existing file is only replaced with `force`, and no disk of
    /// the VM at all.
    pub fn create(path: &Path, force: bool, vm: &VmConfig) -> Result<Self> {
        if path == Path::new("-") {
            return standard_output();
        }
        let cannot = |error: io::Error| Failure::new(path.display(), error);
        // A symbolic link is followed: the file to which it leads is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(Failure::new(
                    path.display(),
                    "not a regular file; write to - to send the archive elsewhere",
                ));
            }
            Ok(_) if !force => return Err(exists(&path)),
            Ok(_) if is_disk(&path, vm) => {
                return Err(Failure::new(path.display(), "is a disk of the VM; give the archive another name"));
            }
            _ => {}
        }
        let draft = tempfile::Builder::new().prefix(".appliance-").tempfile_in(folder(&path)).map_err(cannot)?;
        Ok(Self::File { draft, path, replace: force })
    }

    /// The file to write to.
    pub fn file(&self) -> &File {
        match self {
            Self::Stream(file) => file,
            Self::File { draft, .. } => draft.as_file(),
        }
    }

    /// The failure to write it, or to read its contents.
    pub fn failed(&self, why: impl Display) -> Failure {
        match self {
            Self::Stream(_) => Failure::new(STDOUT, why),
            Self::File { path, .. } => Failure::new(path.display(), why),
        }
    }

    /// Syncs the file to stable storage, renames it to its final name, and prints a summary.
    pub fn finish(self, exported: &Exported) -> Result<()> {
        exported.remarks.iter().for_each(note);
        let Self::File { draft, path, replace } = self else { return Ok(()) };
        let cannot = |error: io::Error| Failure::new(path.display(), error);
        draft.as_file().sync_all().map_err(cannot)?;
        let kept = if replace { draft.persist(&path) } else { draft.persist_noclobber(&path) };
        kept.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&path),
            _ => cannot(error.error),
        })?;
        File::open(folder(&path)).and_then(|folder| folder.sync_all()).map_err(cannot)?;
        print(&format!("{}: {}\n", path.display(), Size(exported.size)))
    }
}

fn standard_output() -> Result<Output> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return Err(Failure::new(
            "standard output",
            "cannot write an archive to a terminal; name a file, or use a pipe",
        ));
    }
    // Bypasses the line buffer of standard output.
    let file = stdout.as_fd().try_clone_to_owned().map_err(|error| Failure::new(STDOUT, error))?;
    Ok(Output::Stream(file.into()))
}

/// Whether a file is a disk of the VM, under whatever name.
fn is_disk(path: &Path, vm: &VmConfig) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let file = identity(path);
    vm.disks.iter().any(|disk| match &disk.source {
        DiskSource::Image { path, .. } => file.is_some() && identity(path) == file,
        _ => false,
    })
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn exists(path: &Path) -> Failure {
    Failure::new(path.display(), "already exists; replace it with --force, or use another name")
}
