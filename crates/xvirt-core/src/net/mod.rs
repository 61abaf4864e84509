//! Host network interfaces that a NIC can be connected to, and the addresses NICs have.
//!
//! A [`Tap`] carries whole Ethernet frames between a guest's NIC and the host's network stack; attached to a bridge it
//! puts the VM on a network. A [`FrameStream`] carries them over a unix socket, which needs no privileges; `passt` starts
//! the program that is then at the other end.

mod interface;
mod ioctl;
mod mac;
mod passt;
mod stream;
mod tap;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use interface::check_name;
pub use mac::MacAddress;
pub(crate) use passt::PasstCommand;
pub use stream::FrameStream;
pub use tap::{Offloads, Tap, VNET_HEADER_LEN};
