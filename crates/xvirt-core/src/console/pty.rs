//! A console on a pseudo-terminal.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::attach::Attachment;
use super::pump::Pump;
use super::shared::Shared;
use crate::{Error, Result};

/// A console attached to a pseudo-terminal. Dropping it closes the terminal and ends its thread.
#[derive(Debug)]
#[must_use = "dropping it closes the terminal"]
pub struct PtyAttachment {
    path: PathBuf,
    _attachment: Attachment,
    // Both ends stay open with the attachment: without the slave, the master would report a hangup between two users;
    // without the master, the last user could not read what is left in the terminal when the VM ends.
    _master: Arc<OwnedFd>,
    _slave: OwnedFd,
}

impl PtyAttachment {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let (master, slave, path) = open().map_err(|errno| {
            Error::io("cannot open a pseudo-terminal for the console", errno.into())
                .with_remedy("mount the terminals (mount -t devpts devpts /dev/pts), or raise kernel.pty.max")
        })?;
        let master = Arc::new(master);
        let attachment = Attachment::start(Pump::over(shared, Arc::clone(&master))?)?;
        Ok(Self { path, _attachment: attachment, _master: master, _slave: slave })
    }

    /// The path of the terminal, such as `/dev/pts/3`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open() -> rustix::io::Result<(OwnedFd, OwnedFd, PathBuf)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    // Raw mode: the guest's terminal driver echoes and edits lines.
    let mut mode = tcgetattr(&slave)?;
    mode.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &mode)?;
    fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
    Ok((master, slave, PathBuf::from(OsStr::from_bytes(name.as_bytes()))))
}
