//! The host side of networks: the interfaces to which NICs connect, and MAC addresses.
//!
//! A [`Tap`] carries whole Ethernet frames between a guest's NIC and the host's network stack; attached to a bridge it
//! connects the VM to a network. A [`FrameStream`] carries frames over a unix socket, which needs no privileges.
//! `passt` starts and supervises the program of that name, which connects such a socket to the host's network.

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
