//! A console on a unix socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use super::attach::Attachment;
use super::pump::Pump;
use super::shared::Shared;
use crate::{Error, ErrorKind, Result};

/// A console that listens on a unix socket: dropping it disconnects all clients, ends the thread and removes the file.
#[derive(Debug)]
#[must_use = "dropping it closes the socket"]
pub struct SocketAttachment {
    // In this order: nobody is served any more when the file goes.
    _attachment: Attachment,
    file: SocketFile,
}

impl SocketAttachment {
    pub(super) fn new(shared: &Arc<Shared>, path: &Path) -> Result<Self> {
        let (listener, file) = bind_to(path)?;
        let attachment = Attachment::start(Pump::listening(shared, listener)?)?;
        Ok(Self { _attachment: attachment, file })
    }

    /// The socket to connect to.
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

/// The file a socket is bound to; removed when dropped, unless it is another one by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // If it cannot be removed, the next to bind finds it stale.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|found| (found.dev(), found.ino()))
}

fn bind_to(path: &Path) -> Result<(OwnedFd, SocketFile)> {
    let shown = path.display();
    let failed = |errno: Errno| Error::io(format!("cannot listen on console socket {shown}"), errno.into());
    let address = SocketAddrUnix::new(path).map_err(|errno| {
        Error::new(ErrorKind::InvalidConfig, format!("console socket path {shown} is not a socket address"))
            .because(io::Error::from(errno))
            .remedy("use a path of at most 107 bytes")
    })?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
    // Before the file exists, so that it never has wider rights.
    fchmod(&listener, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    match bind(&listener, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path)?;
            bind(&listener, &address)
        }
        other => other,
    }
    .map_err(|errno| match errno {
        Errno::ADDRINUSE => busy(path),
        Errno::NOENT => failed(errno).remedy("create its folder first"),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => failed(errno).remedy("choose a folder this user may write to"),
        _ => failed(errno),
    })?;
    let identity = identity(path).map_err(|source| Error::io(format!("console socket {shown} vanished"), source))?;
    let file = SocketFile { path: path.to_owned(), identity };
    listen(&listener, 16).map_err(failed)?;
    Ok((listener, file))
}

/// Removes the socket file of a process that is gone; refuses anything else.
fn remove_stale(path: &Path) -> Result<()> {
    let shown = path.display();
    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("{shown} exists and is not a socket"))
            .remedy("choose another path for the console socket"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .map_err(|source| Error::io(format!("cannot remove stale console socket {shown}"), source)),
        _ => Err(busy(path)),
    }
}

fn busy(path: &Path) -> Error {
    Error::new(ErrorKind::Busy, format!("somebody already listens on console socket {}", path.display()))
        .remedy("choose another path, or end the program that listens there")
}
