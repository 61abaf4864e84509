//! Consoles: the output of a VM from its first byte, its input, and ways to attach to both.
//!
//! The device writes into a bounded ring (`ConsolePort`). Users hold a [`Console`]. Readers attach at any time, each
//! with its own position in the ring, so a late reader sees the boot messages and no reader slows the guest down. A
//! reader that falls behind by more than the ring is told how many bytes it lost. The ring is kept across reboots.
//! When a VM is suspended, its newest part and the input that the guest has not taken are saved (`ConsoleContents`).
//! Threads exist only while a pty or a socket is attached.

mod attach;
mod connection;
mod handle;
mod port;
mod pty;
mod pump;
mod reader;
mod ring;
mod saved;
mod shared;
mod socket;
#[cfg(test)]
mod tests;
mod writer;

pub use connection::ConnectionAttachment;
pub use handle::Console;
pub(crate) use port::ConsolePort;
pub use pty::PtyAttachment;
pub use reader::ConsoleReader;
pub(crate) use saved::ConsoleContents;
pub use socket::SocketAttachment;
pub use writer::ConsoleWriter;
