//! Unix sockets that listen at a path, for every floor: bound safely, and gone from the file system with their owner.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use crate::{Error, ErrorKind, Result};

/// The file a socket is bound to; removed when dropped, unless it is another one by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // If it cannot be removed, the next to bind finds it stale.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`, without blocking and for this user alone; the file of a program that is gone is replaced. `what`
/// is what errors call it, as in "console socket".
///
/// # Errors
/// Somebody listens there, something else than a socket is there, or the file cannot be made.
pub(crate) fn listen_at(path: &Path, what: &str) -> Result<(UnixListener, SocketFile)> {
    let shown = path.display();
    let failed = |errno: Errno| Error::io(format!("cannot listen on {what} {shown}"), errno.into());
    let address = SocketAddrUnix::new(path).map_err(|errno| {
        Error::new(ErrorKind::InvalidConfig, format!("{what} path {shown} is not a socket address"))
            .because(io::Error::from(errno))
            .remedy("use a path of at most 107 bytes")
    })?;
    let listener = stream_socket().map_err(failed)?;
    // Before the file exists, so that it never has wider rights.
    fchmod(&listener, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    match bind(&listener, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path, what)?;
            bind(&listener, &address)
        }
        other => other,
    }
    .map_err(|errno| match errno {
        Errno::ADDRINUSE => busy(path, what),
        Errno::NOENT => failed(errno).remedy("create its folder first"),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => failed(errno).remedy("choose a folder this user may write to"),
        _ => failed(errno),
    })?;
    let identity = identity(path).map_err(|source| Error::io(format!("{what} {shown} vanished"), source))?;
    let file = SocketFile { path: path.to_owned(), identity };
    listen(&listener, 16).map_err(failed)?;
    Ok((listener.into(), file))
}

/// A socket that does not block.
pub(crate) fn stream_socket() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|found| (found.dev(), found.ino()))
}

/// Removes the socket file of a process that is gone; refuses anything else.
fn remove_stale(path: &Path, what: &str) -> Result<()> {
    let shown = path.display();
    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("{shown} exists and is not a socket"))
            .remedy(format!("choose another path for the {what}")));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .map_err(|source| Error::io(format!("cannot remove stale {what} {shown}"), source)),
        _ => Err(busy(path, what)),
    }
}

fn busy(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Busy, format!("somebody already listens on {what} {}", path.display()))
        .remedy("choose another path, or end the program that listens there")
}
