//! A network that needs neither privileges nor configuration, through the program `passt` (<https://passt.top>).
//!
//! `passt` translates between the Ethernet frames of one guest and ordinary sockets of the host. It is a child of this
//! process and inherits one end of a socket pair, so there is no path to which others could connect. It ends by itself
//! when the other end is closed, even if this process is killed.
//!
//! `process` is one running `passt`, `output` reads its messages, `refusal` explains why it did not start, and
//! `supervisor` restarts it.

mod output;
mod process;
mod refusal;
mod supervisor;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub(crate) use supervisor::Supervisor;

/// The program and its options, except those for the connection with this process.
#[derive(Clone, Debug)]
pub(crate) struct PasstCommand {
    /// A path, or a name that is searched in `PATH`.
    pub(crate) program: PathBuf,
    pub(crate) options: Vec<String>,
}
