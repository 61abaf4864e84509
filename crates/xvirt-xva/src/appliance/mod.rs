//! The user-facing description of an appliance.
//!
//! `read` creates it from the objects in `ova.xml`, and `settings` collects their other settings.

mod read;
mod settings;

use serde::Serialize;
use uuid::Uuid;

pub use settings::Setting;

use crate::ova::AfterCrash;

/// The VM of an appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Appliance {
    /// The VM's name.
    pub name: String,
    /// The description for users.
    pub description: String,
    /// Its UUID at its origin.
    pub uuid: Option<Uuid>,
    /// The VM generation ID, by which a guest detects that it is a copy.
    pub generation_id: Option<Uuid>,
    /// The number of vCPUs at start.
    pub vcpus: u32,
    /// Its memory in bytes.
    pub memory: u64,
    /// Whether it is a template instead of a VM.
    pub template: bool,
    /// Whether it was exported suspended, with a memory image.
    pub suspended: bool,
    /// The kind of firmware.
    pub firmware: Firmware,
    /// The action after a crash, if one is set.
    pub after_crash: Option<AfterCrash>,
    /// Its disks, in the order of their device numbers.
    pub disks: Vec<ApplianceDisk>,
    /// Its CD drives, with the names of their discs, if any.
    pub cd_drives: Vec<Option<String>>,
    /// Its network interfaces, in the order of their device numbers.
    pub nics: Vec<ApplianceNic>,
    /// Settings that not every host supports or not every VM needs.
    pub settings: Vec<Setting>,
    /// The software that wrote the archive.
    pub producer: Producer,
}

/// The kind of firmware of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Firmware {
    /// A BIOS.
    Bios,
    /// UEFI.
    Uefi,
    /// Paravirtual: there is no firmware; the kernel comes from the disk or the host and runs on Xen only.
    Paravirtual,
}

/// A disk of an appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ApplianceDisk {
    /// Its folder in the archive.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The description for users.
    pub description: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its device number or name in the VM, such as `0` or `xvda`.
    pub device: String,
    /// Whether the VM boots from it.
    pub bootable: bool,
    /// Whether it is read-only for the VM.
    pub read_only: bool,
}

/// A network interface of an appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ApplianceNic {
    /// Its MAC address, as written in the archive.
    pub mac: String,
    /// The MTU in bytes.
    pub mtu: Option<u16>,
    /// The limit on sent bytes per second, if any.
    pub transmit_limit: Option<u64>,
    /// The name of the network it was connected to.
    pub network: String,
    /// The bridge of this network on its host.
    pub bridge: String,
}

/// The software that wrote an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Producer {
    /// The product, such as `XenServer` or `XCP-ng`.
    pub brand: String,
    /// Its version.
    pub version: String,
    /// The version of its toolstack (xapi).
    pub xapi: String,
    /// The version of the archive layout: 2 since 2008.
    pub export_version: u64,
}
