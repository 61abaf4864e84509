//! What an appliance is, in the terms of who uses it.

use serde::Serialize;
use uuid::Uuid;

use super::ova::{Document, Object};
use crate::Result;
use crate::config::ByteSize;

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
    /// How many vCPUs it starts with.
    pub vcpus: u32,
    /// Its memory in bytes.
    pub memory: ByteSize,
    /// Whether it is a template rather than a VM.
    pub template: bool,
    /// Whether it was exported suspended, with an image of its memory.
    pub suspended: bool,
    /// What it starts.
    pub firmware: Firmware,
    /// Its disks, in the order of their device numbers.
    pub disks: Vec<ApplianceDisk>,
    /// Its CD drives: the name of the disc in each, if there was one.
    pub cd_drives: Vec<Option<String>>,
    /// Its network interfaces, in the order of their device numbers.
    pub nics: Vec<ApplianceNic>,
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

impl Appliance {
    pub(super) fn read(document: &Document) -> Result<Self> {
        let vm = &document.vm()?.fields;
        let mut disks = Vec::new();
        let mut cd_drives = Vec::new();
        for vbd in block_devices(document)? {
            let vdi = document.find("VDI", vbd.fields.reference("VDI"));
            if document.is_disc(vbd) {
                cd_drives.push(vdi.map(|vdi| vdi.fields.text("name_label").to_owned()));
            } else if let Some(vdi) = vdi.filter(|vdi| !disks.iter().any(|disk: &ApplianceDisk| disk.id == vdi.id)) {
                disks.push(disk(vbd, vdi));
            }
        }
        Ok(Self {
            name: vm.text("name_label").to_owned(),
            description: vm.text("name_description").to_owned(),
            uuid: vm.text("uuid").trim().parse().ok(),
            vcpus: vm
                .number("VCPUs_at_startup")
                .or_else(|| vm.number("VCPUs_max"))
                .unwrap_or(1)
                .try_into()
                .unwrap_or(1),
            memory: ByteSize::new(memory(document)?),
            template: vm.flag("is_a_template"),
            suspended: document.find("VDI", vm.reference("suspend_VDI")).is_some(),
            firmware: firmware(&document.vm()?.fields),
            disks,
            cd_drives,
            nics: network_interfaces(document).into_iter().map(|vif| nic(document, vif)).collect(),
            producer: producer(document),
        })
    }
}

/// The block devices of the VM in the order of their numbers.
pub(super) fn block_devices(document: &Document) -> Result<Vec<&Object>> {
    let mut devices: Vec<_> = document.block_devices()?.collect();
    devices.sort_by_key(|vbd| position(vbd.fields.text("userdevice")));
    Ok(devices)
}

/// The network interfaces in the order of their numbers.
pub(super) fn network_interfaces(document: &Document) -> Vec<&Object> {
    let mut interfaces: Vec<_> = document.of_class("VIF").collect();
    interfaces.sort_by_key(|vif| position(vif.fields.text("device")));
    interfaces
}

/// The place of a device among the others: `2`, `xvdc`, `hdc` and `sdc` are the third.
fn position(device: &str) -> u64 {
    let device = device.trim();
    let letters = ["xvd", "hd", "sd"].iter().find_map(|prefix| device.strip_prefix(prefix));
    match letters {
        // As columns of a table are counted: after `z` comes `aa`.
        Some(letters) => letters
            .bytes()
            .fold(0_u64, |place, letter| {
                place.saturating_mul(26).saturating_add(u64::from(letter.saturating_sub(b'a')) + 1)
            })
            .saturating_sub(1),
        // Those that are to be placed automatically come last.
        None => device.parse().unwrap_or(u64::MAX),
    }
}

/// The memory of the VM: without ballooning, what it may have at most while it runs.
pub(super) fn memory(document: &Document) -> Result<u64> {
    let vm = &document.vm()?.fields;
    let sizes = ["memory_dynamic_max", "memory_static_max"].map(|field| vm.number(field));
    Ok(sizes.into_iter().flatten().find(|size| *size > 0).unwrap_or(0))
}

fn firmware(vm: &super::ova::Record) -> Firmware {
    let domain = vm.text("domain_type");
    let hvm = domain.eq_ignore_ascii_case("hvm")
        || !vm.text("HVM_boot_policy").is_empty() && !domain.to_ascii_lowercase().starts_with("pv");
    match (hvm, vm.text_in("HVM_boot_params", "firmware")) {
        (false, _) => Firmware::Paravirtual,
        (true, "uefi") => Firmware::Uefi,
        (true, _) => Firmware::Bios,
    }
}

fn disk(vbd: &Object, vdi: &Object) -> ApplianceDisk {
    ApplianceDisk {
        id: vdi.id.clone(),
        name: vdi.fields.text("name_label").to_owned(),
        description: vdi.fields.text("name_description").to_owned(),
        size: vdi.fields.number("virtual_size").unwrap_or(0),
        device: vbd.fields.text("userdevice").to_owned(),
        bootable: vbd.fields.flag("bootable"),
        read_only: vbd.fields.text("mode").eq_ignore_ascii_case("RO") || vdi.fields.flag("read_only"),
    }
}

fn nic(document: &Document, vif: &Object) -> ApplianceNic {
    let network = document.find("network", vif.fields.reference("network"));
    let text = |field| network.map_or("", |network| network.fields.text(field)).to_owned();
    ApplianceNic {
        mac: vif.fields.text("MAC").trim().to_owned(),
        mtu: vif.fields.number("MTU").and_then(|mtu| mtu.try_into().ok()),
        network: text("name_label"),
        bridge: text("bridge"),
    }
}

fn producer(document: &Document) -> Producer {
    let version = document.version();
    Producer {
        brand: version.text("product_brand").to_owned(),
        version: version.text("product_version").to_owned(),
        xapi: format!("{}.{}", version.text("xapi_major"), version.text("xapi_minor")),
        export_version: document.export_version(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ova::{Record, Value};
    use super::*;

    #[test]
    fn a_disc_in_a_device_for_disks_is_a_disc() {
        let mut document = Document::new(Record::default());
        document.objects = vec![
            Object::new("VM", "Ref:0", []),
            Object::new("VBD", "Ref:1", [("type", Value::text("Disk")), ("VDI", Value::text("Ref:2"))]),
            Object::new("VDI", "Ref:2", [("SR", Value::text("Ref:3")), ("name_label", Value::text("tools.iso"))]),
            Object::new("SR", "Ref:3", [("content_type", Value::text("iso"))]),
        ];
        // As its contents are not in the archive.
        assert_eq!(document.expected().unwrap(), []);
        let appliance = Appliance::read(&document).unwrap();
        assert_eq!((appliance.disks, appliance.cd_drives), (vec![], vec![Some("tools.iso".to_owned())]));
    }

    #[test]
    fn devices_have_an_order() {
        let mut devices = ["10", "xvdb", "autodetect", "2", "hda", "xvdaa"];
        devices.sort_by_key(|device| position(device));
        assert_eq!(devices, ["hda", "xvdb", "2", "10", "xvdaa", "autodetect"]);
        assert_eq!((position("0"), position("xvdd")), (0, 3));
    }
}
