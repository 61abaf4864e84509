//! The files of metadata: JSON with the number of its format.
//!
//! They are read as if a stranger had written them: of bounded size, no symbolic link, of no newer format, and what
//! they name is checked by who reads them.
//!
//! The number of the format alone decides whether a record can be read: a newer version adds fields without changing the
//! number where a record means the same to who ignores them, so unknown fields are ignored. It raises the number for
//! anything else, such as a new kind of disk.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::store::{absent_is, failed};
use crate::named_file::NamedFile;
use crate::{Error, ErrorKind, Result};

/// The newest format that is understood, of the repository and of every record.
pub(crate) const FORMAT: u32 = 1;

/// More than a record ever needs, in bytes.
const LARGEST: u64 = 4 << 20;

/// Something that is kept in a file of its own.
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
            let what = format!("{} has format {format}, and this version reads up to {FORMAT}", path.display());
            return Err(Error::new(ErrorKind::UnsupportedRepository, what).with_remedy("use a newer version of xvirt"));
        }
        serde_json::from_slice(&text).map_err(damaged)
    }

    /// Writes it into the folder, in the place of one that is there, on stable storage but for the file's name.
    fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(Self::FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|error| {
            Error::new(ErrorKind::InvalidConfig, format!("what {} is to say cannot be kept", path.display()))
                .because(error)
                .with_remedy("give kernels, disks and network interfaces by path or name instead of as open objects")
        })?;
        // What an attempt left that failed later.
        fs::remove_file(&path)
            .or_else(absent_is(()))
            .map_err(|error| Error::io(format!("cannot replace {}", path.display()), error))?;
        write_new(&path, &text)
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Reads a plain file, if it is not bigger than `most` bytes.
pub(super) fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>> {
    let cannot = |error: io::Error| match error.kind() {
        // Whether that is a mistake, the caller knows.
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
        return Err(corrupt(path, &format!("it is bigger than {most} bytes")));
    }
    Ok(bytes)
}

/// Writes a new file, on stable storage but for its name. A failure leaves no file behind.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = |error: io::Error| Error::io(format!("cannot write {}", path.display()), error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(cannot)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        // The error that is reported matters more than that a piece stays.
        let _ = fs::remove_file(path);
        cannot(error)
    })
}

/// Says what to do about a damaged file without which the repository cannot even be checked.
pub(super) fn explain_damage(error: Error, remedy: &str) -> Error {
    if error.kind() == ErrorKind::CorruptRepository { error.with_remedy(remedy) } else { error }
}

/// The error for a file or folder that is not as it must be.
pub(crate) fn corrupt(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::CorruptRepository, format!("{} is damaged: {why}", path.display()))
        .with_remedy("Repository::check finds all damage and says what to do")
}
