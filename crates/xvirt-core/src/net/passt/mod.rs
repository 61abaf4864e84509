//! A network without privileges or set-up: starts the program `passt` (<https://passt.top>) and keeps it running.
//!
//! `passt` translates between the Ethernet frames of one guest and ordinary sockets of the host. It is a child of this
//! process and inherits one end of a socket pair, so there is no path that others could connect to. It ends by itself when
//! the other end closes, however this process ends.
//!
//! `process` is one running `passt`, `output` is what it says, `refusal` is the error where it does not start, and
//! `supervisor` starts it again after it has ended.

mod output;
mod process;
mod refusal;
mod supervisor;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub(crate) use supervisor::Supervisor;

/// The program and its options, apart from those that say how it is connected with this process.
#[derive(Clone, Debug)]
pub(crate) struct PasstCommand {
    /// A path, or a name that is looked for in `PATH`.
    pub(crate) program: PathBuf,
    pub(crate) options: Vec<String>,
}
