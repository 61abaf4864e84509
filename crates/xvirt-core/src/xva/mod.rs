//! Virtual appliances: whole VMs in one `.xva` file, the format of XenServer and XCP-ng.

mod appliance;
mod chunk;
mod codec;
mod configure;
mod error;
mod export;
mod extract;
mod import;
mod inspect;
mod ova;
mod parallel;
mod read;
mod root_device;
mod tar;
mod target;
mod verify;
mod write;

pub use appliance::{Appliance, ApplianceDisk, ApplianceNic, Firmware, Producer};
pub use chunk::Checksum;
pub use codec::Compression;
pub use export::{Export, Exported, export, export_stored};
pub use extract::{Extract, Extracted, extract};
pub use import::{Import, Imported, import};
pub use inspect::{Inspected, inspect};
pub use verify::{DiskReport, Problem, Report, verify};
