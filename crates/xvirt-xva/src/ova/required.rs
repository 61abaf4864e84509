//! What keeps XenServer from using a document.
//!
//! This reads documents with less: it has a default for whatever is missing.

use super::document::{Document, Object};

type Fields = &'static [&'static str];

/// The fields without which XCP-ng 8.3 does not import an object.
const REQUIRED: [(&str, Fields); 6] = [
    (
        "VM",
        &[
            "uuid",
            "user_version",
            "is_a_template",
            "resident_on",
            "affinity",
            "memory_static_max",
            "memory_dynamic_max",
            "memory_dynamic_min",
            "memory_static_min",
            "VCPUs_params",
            "VCPUs_max",
            "VCPUs_at_startup",
            "actions_after_shutdown",
            "actions_after_reboot",
            "actions_after_crash",
            "PV_bootloader",
            "PV_kernel",
            "PV_ramdisk",
            "PV_args",
            "PV_bootloader_args",
            "PV_legacy_args",
            "HVM_boot_policy",
            "HVM_boot_params",
            "platform",
            "PCI_bus",
            "other_config",
            "domid",
            "domarch",
            "is_control_domain",
            "metrics",
            "guest_metrics",
            "recommendations",
        ],
    ),
    (
        "VBD",
        &[
            "uuid",
            "VM",
            "VDI",
            "userdevice",
            "bootable",
            "mode",
            "type",
            "storage_lock",
            "empty",
            "other_config",
            "status_code",
            "status_detail",
            "runtime_properties",
            "qos_algorithm_type",
            "qos_algorithm_params",
            "qos_supported_algorithms",
        ],
    ),
    (
        "VIF",
        &[
            "uuid",
            "device",
            "network",
            "VM",
            "MAC",
            "MTU",
            "other_config",
            "status_code",
            "status_detail",
            "runtime_properties",
            "qos_algorithm_type",
            "qos_algorithm_params",
            "qos_supported_algorithms",
        ],
    ),
    (
        "VDI",
        &[
            "uuid",
            "SR",
            "virtual_size",
            "physical_utilisation",
            "type",
            "sharable",
            "read_only",
            "other_config",
            "storage_lock",
            "managed",
            "missing",
            "parent",
        ],
    ),
    (
        "SR",
        &[
            "uuid",
            "virtual_allocation",
            "physical_utilisation",
            "physical_size",
            "type",
            "content_type",
            "shared",
            "other_config",
        ],
    ),
    ("network", &["uuid", "other_config"]),
];

/// The fields of the producer's version that XenServer needs.
const VERSION: Fields =
    &["hostname", "date", "product_version", "product_brand", "build_number", "xapi_major", "xapi_minor"];

impl Document {
    /// What keeps XenServer from using this document, one line for each kind.
    pub(crate) fn obstacles(&self) -> Vec<String> {
        let mut found = Vec::new();
        let lacking = |fields: Fields, has: &dyn Fn(&str) -> bool| {
            fields.iter().copied().filter(|field| !has(field)).collect::<Vec<_>>().join(", ")
        };
        let version = lacking(VERSION, &|field| self.version().get(field).is_some());
        if !version.is_empty() {
            found.push(format!("the version in ova.xml has no {version}"));
        }
        if self.export_version() == 0 {
            found
                .push("its layout is export version 0, or of no version, which hosts since 8.1 cannot read".to_owned());
        }
        for (class, fields) in REQUIRED {
            let objects: Vec<&Object> = self.of_class(class).collect();
            let missing = lacking(fields, &|field| objects.iter().all(|object| object.fields.get(field).is_some()));
            if !missing.is_empty() {
                found.push(format!("a {class} in ova.xml has no {missing}"));
            }
        }
        let dangling = |class, field, target| {
            let lost = |object: &&Object| self.find(target, object.fields.reference(field)).is_none();
            self.of_class(class).find(lost).map(|object| format!("{class} {} in ova.xml has no {target}", object.id))
        };
        found.extend(dangling("VIF", "network", "network"));
        found.extend(dangling("VDI", "SR", "SR"));
        let is_sector = |object: &&Object| object.fields.number("virtual_size").is_some_and(|size| size % 512 != 0);
        found.extend(
            self.of_class("VDI")
                .find(is_sector)
                .map(|disk| format!("the size of disk {} is no multiple of 512 bytes", disk.id)),
        );
        found
    }
}
