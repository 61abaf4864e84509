//! A console on a Unix socket.

use std::path::Path;
use std::sync::Arc;

use super::attach::Attachment;
use super::pump::Pump;
use super::shared::Shared;
use crate::Result;
use crate::socket::{self, SocketFile};

/// A console that listens on a Unix socket. Dropping it disconnects all clients, ends the thread and removes the file.
#[derive(Debug)]
#[must_use = "dropping it closes the socket"]
pub struct SocketAttachment {
    // Fields are dropped in this order: the file is removed while the thread still listens.
    file: SocketFile,
    _attachment: Attachment,
}

impl SocketAttachment {
    pub(super) fn new(shared: &Arc<Shared>, path: &Path) -> Result<Self> {
        let (listener, file) = socket::listen_at(path, "console socket")?;
        let attachment = Attachment::start(Pump::listening(shared, listener.into())?)?;
        Ok(Self { _attachment: attachment, file })
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}
