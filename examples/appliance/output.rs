//! The destination of an archive: a file that appears only when it is complete, or standard output.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use xvirt_core::config::{DiskSource, VmConfig};
use xvirt_core::disk;
use xvirt_core::xva::Exported;

use crate::draft::Draft;
use crate::failure::{Failure, Result, note};
use crate::table::{Size, print};

const STDOUT: &str = "standard output";

/// An archive to write. Until [`finish`](Self::finish), the file has a temporary name, and is removed if that is not
/// called. Only its owner may read it, because it contains disks.
#[derive(Debug)]
pub enum Output {
    Stream(File),
    File { draft: Draft, path: PathBuf, replace: bool },
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
                return Err(Failure::new(
                    path.display(),
                    "is a disk of the VM, or backs one; give the archive another name",
                ));
            }
            _ => {}
        }
        let draft = Draft::create(folder(&path)).map_err(cannot)?;
        Ok(Self::File { draft, path, replace: force })
    }

    /// The file to write to.
    pub fn file(&self) -> &File {
        match self {
            Self::Stream(file) => file,
            Self::File { draft, .. } => draft.file(),
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
        draft.file().sync_all().map_err(cannot)?;
        draft.rename(&path, replace).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&path),
            _ => cannot(error),
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

/// Whether a file is a disk of the VM or backs one, under whatever name.
fn is_disk(path: &Path, vm: &VmConfig) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let file = identity(path);
    let is_it = |path: &Path| file.is_some() && identity(path) == file;
    vm.disks.iter().any(|disk| match &disk.source {
        DiskSource::Image { path, format, .. } => {
            // What cannot be inspected cannot be packed either, which is told later.
            let backing = disk::inspect(path, Some(*format)).map(|info| info.backing).unwrap_or_default();
            is_it(path) || backing.iter().any(|backing| is_it(&backing.path))
        }
        _ => false,
    })
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn exists(path: &Path) -> Failure {
    Failure::new(path.display(), "already exists; replace it with --force, or use another name")
}
