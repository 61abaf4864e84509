//! Converts the objects of `ova.xml` to an appliance.

use uuid::Uuid;

use super::{Appliance, ApplianceDisk, ApplianceNic, Firmware, Producer, settings};
use crate::Result;
use crate::ova::{Document, Object, Record, after_crash, transmit_limit};

impl Appliance {
    /// Reads the appliance from a document.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it contains no VM; [`Unsupported`](crate::ErrorKind::Unsupported) if
    /// it contains several.
    pub fn read(document: &Document) -> Result<Self> {
        let vm = &document.vm()?.fields;
        let mut disks = Vec::new();
        let mut cd_drives = Vec::new();
        for vbd in document.block_devices()? {
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
            generation_id: generation_id(vm),
            vcpus: vm
                .number("VCPUs_at_startup")
                .or_else(|| vm.number("VCPUs_max"))
                .unwrap_or(1)
                .try_into()
                .unwrap_or(1),
            memory: document.memory()?,
            template: vm.flag("is_a_template"),
            suspended: document.find("VDI", vm.reference("suspend_VDI")).is_some(),
            firmware: firmware(vm),
            after_crash: after_crash(vm),
            disks,
            cd_drives,
            nics: document.network_interfaces().into_iter().map(|vif| nic(document, vif)).collect(),
            settings: settings::find(document)?,
            producer: producer(document),
        })
    }
}

/// The generation ID, which is stored as two signed numbers.
fn generation_id(vm: &Record) -> Option<Uuid> {
    let (high, low) = vm.text("generation_id").split_once(':')?;
    let number = |text: &str| text.parse::<i64>().ok().map(i64::cast_unsigned);
    Some(Uuid::from_u64_pair(number(high)?, number(low)?)).filter(|id| !id.is_nil())
}

fn firmware(vm: &Record) -> Firmware {
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
        transmit_limit: transmit_limit(&vif.fields),
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
    use super::*;
    use crate::ova::Value;

    #[test]
    fn a_disc_in_a_device_for_disks_is_a_disc() {
        let mut document = Document::default();
        for object in [
            Object::new("VM", "Ref:0", []),
            Object::new("VBD", "Ref:1", [("type", Value::text("Disk")), ("VDI", Value::text("Ref:2"))]),
            Object::new("VDI", "Ref:2", [("SR", Value::text("Ref:3")), ("name_label", Value::text("tools.iso"))]),
            Object::new("SR", "Ref:3", [("content_type", Value::text("iso"))]),
        ] {
            document.push(object);
        }
        // Its contents are not in the archive either.
        assert_eq!(document.expected().unwrap(), []);
        let appliance = Appliance::read(&document).unwrap();
        assert_eq!((appliance.disks, appliance.cd_drives), (vec![], vec![Some("tools.iso".to_owned())]));
    }

    #[test]
    fn the_generation_id_is_read_as_it_is_written() {
        let mut document = Document::new_vm("vm");
        assert_eq!(Appliance::read(&document).unwrap().generation_id, None);
        for id in [Uuid::from_u128(1), Uuid::from_u128(u128::MAX), Uuid::from_u128(0x8000 << 112)] {
            document.set_generation_id(id).unwrap();
            assert_eq!(Appliance::read(&document).unwrap().generation_id, Some(id));
        }
    }
}
