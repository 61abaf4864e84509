//! A console on a connection that the program has accepted.

use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::attach::Attachment;
use super::pump::Pump;
use super::shared::Shared;
use crate::descriptor::Descriptor;
use crate::{Error, Result, socket};

/// A console that serves one connection. Dropping it disconnects the peer and ends the thread.
#[derive(Debug)]
#[must_use = "dropping it ends the connection"]
pub struct ConnectionAttachment {
    attachment: Attachment,
}

impl ConnectionAttachment {
    pub(super) fn new(shared: &Arc<Shared>, connection: &Descriptor) -> Result<Self> {
        const WHAT: &str = "a console's connection";
        let socket = connection.duplicate()?;
        if !socket::is_unix_stream(&socket) {
            return Err(connection
                .unfit(WHAT, "it is not a unix stream socket")
                .with_remedy("give the descriptor of a connected unix stream socket"));
        }
        fcntl_getfl(&socket)
            .and_then(|flags| fcntl_setfl(&socket, flags | OFlags::NONBLOCK))
            .map_err(|errno| Error::io(format!("cannot use {} as {WHAT}", connection.name()), errno.into()))?;
        Ok(Self { attachment: Attachment::start(Pump::connected(shared, socket)?)? })
    }

    /// Whether the connection has ended: the peer has hung up, or the console was closed.
    pub fn is_over(&self) -> bool {
        self.attachment.is_over()
    }
}
