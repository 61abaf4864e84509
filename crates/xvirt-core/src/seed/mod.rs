//! A guest's identity for its first boot: a small disk that cloud-init finds by its label and reads.
//!
//! A [`Seed`] describes the guest (host name, users and their keys, network interfaces, commands) and writes a disk
//! image, which is added to the VM as a second disk:
//!
//! ```no_run
//! use xvirt_core::config::{Disk, VmConfig};
//! use xvirt_core::net::MacAddress;
//! use xvirt_core::seed::{Seed, SeedNic, User};
//!
//! # fn main() -> xvirt_core::Result<()> {
//! let mac: MacAddress = "02:00:5e:10:00:01".parse()?;
//! Seed::new("web-1")
//!     .user(User::new("alice").sudo().authorized_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI... alice@desk"))
//!     .nic(SeedNic::static_address(mac, "192.0.2.10/24".parse()?).gateway([192, 0, 2, 1]))
//!     .write("web-1-seed.raw")?;
//! let config = VmConfig::new("web-1")
//!     .disk(Disk::open("web-1.qcow2")?)
//!     .disk(Disk::raw("web-1-seed.raw").read_only().serial("cidata"));
//! # Ok(())
//! # }
//! ```
//!
//! The guest needs cloud-init, or another program that reads the
//! [NoCloud](https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html) data source. The instance id
//! identifies a new guest: cloud-init runs once for each, and then creates new SSH host keys. The guest's machine id is
//! not set here; the image of a template should contain an empty `/etc/machine-id`.
//!
//! Inside: `identity`, `user`, `nic` and `address` are the user-facing types, and `name` checks names in them; `render`
//! and `network` create the three files, and `fat` the disk that contains them. The FAT writer is our own: `fatfs` has
//! had no release since January 2023, and a fixed layout with one folder needs little code.

mod address;
mod fat;
mod identity;
mod name;
mod network;
mod nic;
mod render;
#[cfg(test)]
mod tests;
mod user;

pub use address::InterfaceAddress;
pub use identity::Seed;
pub use nic::SeedNic;
pub use user::User;

use crate::{Error, ErrorKind};

/// An error in a seed; `what` names the field and the value.
fn invalid(what: impl Into<String>, remedy: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, what).with_remedy(remedy)
}
