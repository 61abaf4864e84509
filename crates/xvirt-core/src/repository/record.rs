//! Metadata files: JSON with a format number.
//!
//! Their contents are not trusted: they must be plain files of bounded size and of a known format, and readers check
//! the names in them.
//!
//! Only the format number decides whether a record can be read. A newer version that adds a field keeps the number if
//! readers may ignore the field, so unknown fields are ignored. It raises the number for any other change, such as a
//! new kind of disk.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::store::{absent_is, delete, failed, rename, swap, sync_folder};
use crate::named_file::NamedFile;
use crate::{Error, ErrorKind, Result};

/// The newest supported format, of the repository and of every record.
pub(crate) const FORMAT: u32 = 1;

/// The end of the name of a record that is about to replace another.
const DRAFT: &str = ".new";

/// The size limit of a record in bytes.
const LARGEST: u64 = 4 << 20;

/// An object that is stored in a file of its own.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// The name of the file.
    const FILE: &str;

    /// Reads it from the folder.
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(Self::FILE);
        let text = read_bounded(&path, LARGEST)?;
        let damaged = |error: serde_json::Error| corrupt(&path, &error.to_string());
        let Format { format } = serde_json::from_slice(&text).map_err(damaged)?;
        if format > FORMAT {
            let what = format!(
                "{} has format {format}, but this version of xvirt reads formats up to {FORMAT}",
                path.display()
            );
            return Err(Error::new(ErrorKind::UnsupportedRepository, what).with_remedy("use a newer version of xvirt"));
        }
        serde_json::from_slice(&text).map_err(damaged)
    }

    /// Writes it into the folder, replacing an existing one, on stable storage except for the directory entry.
    fn write(&self, folder: &Path) -> Result<()> {
        self.write_as(&folder.join(Self::FILE))
    }

    /// Replaces the record in the folder atomically. When this returns, the new one is on stable storage; after an
    /// error the old one is in place.
    fn replace(&self, folder: &Path) -> Result<()> {
        let (path, draft) = (folder.join(Self::FILE), folder.join(format!("{}{DRAFT}", Self::FILE)));
        self.write_as(&draft)?;
        if !swap(&draft, &path)? {
            rename(&draft, &path)?;
            return sync_folder(folder);
        }
        sync_folder(folder).inspect_err(|_| {
            if let Err(error) = swap(&draft, &path) {
                tracing::warn!("cannot restore {}: {error}", path.display());
            }
        })?;
        delete(&draft)
    }

    /// Writes the record to a new file, and that to stable storage.
    fn write_as(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| {
            Error::new(
                ErrorKind::InvalidConfig,
                format!("cannot store {}, because the configuration contains open objects", path.display()),
            )
            .because(error)
            .with_remedy("give kernels, disks and network interfaces by path or name")
        })?;
        // Removes the leftover of an attempt that failed later.
        fs::remove_file(path)
            .or_else(absent_is(()))
            .map_err(|error| Error::io(format!("cannot replace {}", path.display()), error))?;
        write_new(path, &text)
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Reads a plain file of at most `most` bytes.
pub(super) fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>> {
    let cannot = |error: io::Error| match error.kind() {
        // Only the caller knows whether a missing file is an error.
        io::ErrorKind::NotFound => Error::io(format!("cannot read {}", path.display()), error),
        _ => failed(format!("cannot read {}", path.display()), error),
    };
    let found = NamedFile::find_without_following(path).map_err(cannot)?;
    if !found.is_file() {
        return Err(corrupt(path, &format!("it is {}", found.description())));
    }
    let file = found.open(OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC)).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > most {
        return Err(corrupt(path, &format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// Writes a new file, on stable storage except for the directory entry. On failure no file is left behind.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = |error: io::Error| Error::io(format!("cannot write {}", path.display()), error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(cannot)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        // The reported error matters more than a leftover file.
        let _ = fs::remove_file(path);
        cannot(error)
    })
}

/// Adds a remedy to the error for a damaged file without which the repository cannot be checked.
pub(super) fn explain_damage(error: Error, remedy: &str) -> Error {
    if error.kind() == ErrorKind::CorruptRepository { error.with_remedy(remedy) } else { error }
}

/// The error for a damaged file or folder.
pub(crate) fn corrupt(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::CorruptRepository, format!("{} is damaged: {why}", path.display()))
        .with_remedy("run Repository::check, which finds all damage and names remedies")
}
