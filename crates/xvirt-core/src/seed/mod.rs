//! The identity a guest takes at its first boot: a small disk that cloud-init finds by its label and reads.
//!
//! A [`Seed`] describes the guest (host name, users and their keys, network interfaces, commands) and writes a disk
//! image, which is added to the VM beside its own:
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
//! [NoCloud](https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html) data source. What is new about a
//! guest is its instance id: cloud-init does its work once for each, and makes new SSH host keys then. The guest's
//! machine id does not come from here; the image of a template has an empty `/etc/machine-id`.
//!
//! Inside: `identity` is what a user writes, with `user`, `nic` and `address`; `name` says what each may look like;
//! `render` makes the three files of it, and `fat` the disk that holds them. The writer of FAT is ours: `fatfs` has had
//! no release since January 2023, and one fixed layout of one folder is little code.

mod address;
mod fat;
mod identity;
mod name;
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

/// A mistake in a seed: `what` names the field and the value.
fn invalid(what: impl Into<String>, remedy: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, what).with_remedy(remedy)
}
