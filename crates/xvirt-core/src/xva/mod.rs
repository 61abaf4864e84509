//! Virtual appliances: whole VMs in one `.xva` file, the format of XenServer and XCP-ng.

mod appliance;
mod chunk;
mod codec;
mod error;
mod export;
mod extract;
mod ova;
mod parallel;
mod read;
mod tar;
mod target;
mod verify;
mod write;

pub use appliance::{Appliance, ApplianceDisk, ApplianceNic, Firmware, Producer};
pub use chunk::Checksum;
pub use codec::Compression;
pub use export::{Export, Exported, export};
pub use extract::{Extract, Extracted, extract};
pub use verify::{DiskReport, Problem, Report, verify};
