//! Settings of an appliance that differ from those of a plain VM.

use serde::Serialize;

use crate::Result;
use crate::ova::{Document, Record, has_other_limit};

/// A setting of the VM or of one of its devices beyond the other fields of an [`Appliance`](super::Appliance).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// Its name in XenServer's API: a field of the VM (`PV_kernel`), an entry of a map (`platform:viridian`), a field
    /// of a device (`VIF:locking_mode`), or a class of devices (`VTPM`).
    pub field: &'static str,
    /// Its value; for a class of devices, their number.
    pub value: String,
    /// The number of the device to which it belongs.
    pub device: Option<String>,
}

/// Fields of the VM and their default values.
const FIELDS: [(&str, &[&str]); 14] = [
    ("PV_kernel", &[""]),
    ("PV_args", &[""]),
    ("PV_bootloader", &["", "pygrub", "eliloader"]),
    ("ha_restart_priority", &["", "0"]),
    ("start_delay", &["", "0"]),
    ("shutdown_delay", &["", "0"]),
    ("order", &["", "0"]),
    ("actions_after_shutdown", &["", "destroy", "Destroy"]),
    ("actions_after_reboot", &["", "restart", "Restart"]),
    // Only dumps and renaming are settings; the rest is `Appliance::after_crash`.
    ("actions_after_crash", &["", "destroy", "Destroy", "restart", "Restart", "preserve", "Preserve"]),
    ("PCI_bus", &[""]),
    ("appliance", &["", "OpaqueRef:NULL"]),
    ("HVM_shadow_multiplier", &["", "1", "1."]),
    ("suspend_SR", &["", "OpaqueRef:NULL"]),
];

/// Entries of maps of the VM, by the names of both, with the values that matter; all values if none are listed.
const ENTRIES: [(&str, &[&str]); 10] = [
    ("platform:secureboot", &["true"]),
    ("platform:viridian", &["true"]),
    ("platform:exp-nested-hvm", &["true"]),
    ("platform:nested-virt", &["true"]),
    ("HVM_boot_params:order", &["n"]),
    ("other_config:auto_poweron", &["true"]),
    ("platform:cores-per-socket", &[]),
    ("VCPUs_params:weight", &[]),
    ("VCPUs_params:cap", &[]),
    ("VCPUs_params:mask", &[]),
];

/// Classes of devices other than disks, drives and network interfaces.
const DEVICES: [&str; 4] = ["VTPM", "VGPU", "PVS_proxy", "VUSB"];

/// All settings of a document.
pub(super) fn find(document: &Document) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    of_vm(&document.vm()?.fields, &mut settings);
    for class in DEVICES {
        let count = document.of_class(class).count();
        settings.extend((count > 0).then(|| setting(class, count.to_string())));
    }
    of_devices(document, &mut settings);
    Ok(settings)
}

fn of_vm(vm: &Record, settings: &mut Vec<Setting>) {
    for (field, plain) in FIELDS {
        let value = vm.text(field);
        // References within the archive refer to objects that the archive does not contain.
        if !plain.contains(&value) && !value.starts_with("Ref:") {
            settings.push(setting(field, value));
        }
    }
    for (field, values) in ENTRIES {
        let value = field.split_once(':').map_or("", |(map, key)| vm.text_in(map, key));
        let plain = value.is_empty() || field == "platform:cores-per-socket" && value == "1";
        if !plain && (values.is_empty() || values.contains(&value)) {
            settings.push(setting(field, value));
        }
    }
    if vm.number("VCPUs_max") > vm.number("VCPUs_at_startup") {
        settings.push(setting("VCPUs_max", vm.text("VCPUs_max").trim()));
    }
    if vm.number("memory_dynamic_min") < vm.number("memory_dynamic_max") {
        settings.push(setting("memory_dynamic_min", vm.text("memory_dynamic_min").trim()));
    }
}

fn of_devices(document: &Document, settings: &mut Vec<Setting>) {
    for vbd in document.of_class("VBD").map(|vbd| &vbd.fields) {
        let algorithm = vbd.text("qos_algorithm_type");
        let found = (!algorithm.is_empty()).then(|| setting("VBD:qos_algorithm_type", algorithm));
        settings.extend(found.map(|setting| setting.of(vbd.text("userdevice"))));
    }
    for vif in document.of_class("VIF").map(|vif| &vif.fields) {
        let (algorithm, lock) = (vif.text("qos_algorithm_type"), vif.text("locking_mode"));
        let other = has_other_limit(vif).then(|| setting("VIF:qos_algorithm_type", algorithm));
        let locked = !matches!(lock, "" | "network_default" | "unlocked");
        let found = other.into_iter().chain(locked.then(|| setting("VIF:locking_mode", lock)));
        settings.extend(found.map(|setting| setting.of(vif.text("device"))));
    }
}

fn setting(field: &'static str, value: impl Into<String>) -> Setting {
    Setting { field, value: value.into(), device: None }
}

impl Setting {
    /// The same setting for a device.
    fn of(self, device: &str) -> Self {
        Self { device: Some(device.to_owned()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ova::{Object, Value};

    #[test]
    fn a_plain_vm_has_none() {
        let mut document = Document::new_vm("plain");
        document.add_disk("disk", 1).unwrap();
        document.add_network_interface(None).unwrap();
        document.complete().unwrap();
        assert_eq!(find(&document).unwrap(), []);
    }

    #[test]
    fn what_was_chosen_is_found_with_its_device() {
        let mut document = Document::new_vm("vm");
        let vm = &mut document.vm_mut().unwrap().fields;
        vm.set("start_delay", Value::text(7));
        vm.set("appliance", Value::text("Ref:7"));
        vm.set("actions_after_crash", Value::text("coredump_and_restart"));
        vm.set("platform", Value::map([("viridian", "true"), ("cores-per-socket", "1"), ("secureboot", "false")]));
        vm.set("VCPUs_params", Value::map([("weight", "512")]));
        vm.set("VCPUs_max", Value::text(8));
        vm.set("memory_dynamic_min", Value::text(1));
        document.push(Object::new("VTPM", "Ref:5", []));
        let vif = [("device", Value::text(2)), ("locking_mode", Value::text("locked"))];
        document.push(Object::new("VIF", "Ref:6", vif));
        let found = find(&document).unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.field, one.value.as_str(), one.device.as_deref())).collect();
        let expected = [
            ("start_delay", "7", None),
            ("actions_after_crash", "coredump_and_restart", None),
            ("platform:viridian", "true", None),
            ("VCPUs_params:weight", "512", None),
            ("VCPUs_max", "8", None),
            ("memory_dynamic_min", "1", None),
            ("VTPM", "1", None),
            ("VIF:locking_mode", "locked", Some("2")),
        ];
        assert_eq!(found, expected);
    }
}
