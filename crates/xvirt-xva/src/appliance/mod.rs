//! What an appliance is, in the terms of who uses it.
//!
//! `read` makes it of the objects in `ova.xml`, and `settings` finds what else these say.

mod read;
mod settings;

use serde::Serialize;
use uuid::Uuid;

pub use settings::Setting;

use crate::ova::AfterCrash;

/// A VM as an appliance describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Appliance {
    /// The VM's name.
    pub name: String,
    /// What people know about it.
    pub description: String,
    /// Its identity where it came from.
    pub uuid: Option<Uuid>,
    /// The identity of its state, by which a guest learns that it is a copy.
    pub generation_id: Option<Uuid>,
    /// How many vCPUs it starts with.
    pub vcpus: u32,
    /// Its memory in bytes.
    pub memory: u64,
    /// Whether it is a template rather than a VM.
    pub template: bool,
    /// Whether it was exported suspended, with an image of its memory.
    pub suspended: bool,
    /// What it starts.
    pub firmware: Firmware,
    /// What is done when it crashes, if that is said.
    pub after_crash: Option<AfterCrash>,
    /// Its disks, in the order of their device numbers.
    pub disks: Vec<ApplianceDisk>,
    /// Its CD drives: the name of the disc in each, if there was one.
    pub cd_drives: Vec<Option<String>>,
    /// Its network interfaces, in the order of their device numbers.
    pub nics: Vec<ApplianceNic>,
    /// What else is said of it that not every host has, or that not every VM wants.
    pub settings: Vec<Setting>,
    /// What made the archive.
    pub producer: Producer,
}

/// What a VM starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Firmware {
    /// A BIOS.
    Bios,
    /// UEFI.
    Uefi,
    /// Nothing: its kernel is taken from its disk or from the host, and knows that it runs on Xen.
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
    /// What people know about it.
    pub description: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its device number on the VM: `0`, or `xvda`.
    pub device: String,
    /// Whether the VM starts from it.
    pub bootable: bool,
    /// Whether the VM may only read it.
    pub read_only: bool,
}

/// A network interface of an appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ApplianceNic {
    /// Its hardware address, as it is written there.
    pub mac: String,
    /// The largest packet in bytes.
    pub mtu: Option<u16>,
    /// How many bytes the guest may send in a second, if that is limited.
    pub transmit_limit: Option<u64>,
    /// The name of the network it was connected to.
    pub network: String,
    /// The bridge that this network was on its host.
    pub bridge: String,
}

/// What made an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Producer {
    /// The product, such as `XenServer` or `XCP-ng`.
    pub brand: String,
    /// Its version.
    pub version: String,
    /// The version of its toolstack.
    pub xapi: String,
    /// How the archive is laid out: 2 since 2008.
    pub export_version: u64,
}
