//! A VM's console output, kept from its first byte, and the ways to attach to it.
//!
//! The device writes into a bounded ring (`ConsolePort`); a [`Console`] is the handle a user holds. Readers attach at
//! any time, each with its own position in the ring, so a late one sees the boot messages and none slows the guest
//! down. Whoever falls behind by more than the ring is told how many bytes it lost. The ring outlives a reboot.
//! Threads exist only while a pty or a socket is attached.

mod attach;
mod handle;
mod port;
mod pty;
mod pump;
mod reader;
mod ring;
mod shared;
mod socket;
#[cfg(test)]
mod tests;

pub use handle::Console;
pub(crate) use port::ConsolePort;
pub use pty::PtyAttachment;
pub use reader::ConsoleReader;
pub use socket::SocketAttachment;
