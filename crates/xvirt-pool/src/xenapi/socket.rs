//! The socket of a server in the file system.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// Who may connect: the owner and the group.
const MODE: u32 = 0o660;

/// Listens at a path. What a killed service left there is replaced; it is never open to more than it should be.
///
/// # Errors
/// `Busy` if another service listens there; `AlreadyExists` if something else is there; `Io`.
pub(super) fn listen(path: &Path) -> Result<UnixListener> {
    let what = || format!("cannot listen at {}", path.display());
    match fs::symlink_metadata(path) {
        Ok(there) if !std::os::unix::fs::FileTypeExt::is_socket(&there.file_type()) => {
            let error = Error::new(ErrorKind::AlreadyExists, format!("{}: something else is there", what()));
            return Err(error.with_remedy("remove it, or choose another path"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            let error = Error::new(ErrorKind::Busy, format!("{}: another service does", what()));
            return Err(error.with_remedy("stop it, or choose another path"));
        }
        _ => {}
    }
    let new = beside(path);
    let listen = || -> io::Result<UnixListener> {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        // As many as the system allows may wait to be accepted.
        rustix::net::listen(&listener, i32::MAX)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(MODE))?;
        fs::rename(&new, path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|error| {
        let _ = fs::remove_file(&new);
        Error::io(what(), error)
            .with_remedy("make its folder, writable for this user, and keep the path below 100 bytes")
    })
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}
