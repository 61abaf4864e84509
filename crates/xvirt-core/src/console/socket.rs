//! A console on a unix socket.

use std::path::Path;
use std::sync::Arc;

use super::attach::Attachment;
use super::pump::Pump;
use super::shared::Shared;
use crate::Result;
use crate::socket::{self, SocketFile};

/// A console that listens on a unix socket: dropping it disconnects all clients, ends the thread and removes the file.
#[derive(Debug)]
#[must_use = "dropping it closes the socket"]
pub struct SocketAttachment {
    // In this order: the file goes while its thread listens.
    file: SocketFile,
    _attachment: Attachment,
}

impl SocketAttachment {
    pub(super) fn new(shared: &Arc<Shared>, path: &Path) -> Result<Self> {
        let (listener, file) = socket::listen_at(path, "console socket")?;
        let attachment = Attachment::start(Pump::listening(shared, listener.into())?)?;
        Ok(Self { _attachment: attachment, file })
    }

    /// The socket to connect to.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}
