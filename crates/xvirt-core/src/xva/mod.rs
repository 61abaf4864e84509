//! Virtual appliances: whole VMs in one `.xva` file, the format of XenServer and XCP-ng.

mod chunk;
mod codec;
mod error;
mod ova;
mod parallel;
mod read;
mod tar;

pub use chunk::Checksum;
pub use codec::Compression;
