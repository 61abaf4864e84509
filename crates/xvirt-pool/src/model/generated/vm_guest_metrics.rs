// Written by scripts/model.
//! The class `VM_guest_metrics`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Roles, Type, record::whole};

/// What the guest of a virtual machine says of itself through its agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct VmGuestMetrics {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// Its operating system: `name`, `uname`, `distro`, `major`, `minor`, as far as it says so.
    pub os_version: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub netbios_name: BTreeMap<String, String>,
    /// The version of its agent: `major`, `minor`, `micro`, `build`.
    #[serde(rename = "PV_drivers_version")]
    pub pv_drivers_version: BTreeMap<String, String>,
    /// Whether its agent answers.
    #[serde(rename = "PV_drivers_up_to_date")]
    pub pv_drivers_up_to_date: bool,
    /// Not honoured: always empty.
    pub memory: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub disks: BTreeMap<String, String>,
    /// Its addresses: `0/ip` and `0/ipv4/0`, `0/ipv6/0` and so on, by the number of the interface.
    pub networks: BTreeMap<String, String>,
    /// What else it can do: `feature-shutdown`, `feature-reboot`, `feature-suspend` and the like, each `1`.
    pub other: BTreeMap<String, String>,
    /// When this record changed last.
    pub last_updated: DateTime,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Whether its agent answers now.
    pub live: bool,
    /// Whether disks can be plugged while it runs.
    pub can_use_hotplug_vbd: enums::TristateType,
    /// Whether network interfaces can be plugged while it runs.
    pub can_use_hotplug_vif: enums::TristateType,
    /// Whether its guest has shown drivers for virtio.
    #[serde(rename = "PV_drivers_detected")]
    pub pv_drivers_detected: bool,
    /// Not honoured: always empty.
    pub services: BTreeMap<String, String>,
}

impl Default for VmGuestMetrics {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            os_version: BTreeMap::new(),
            netbios_name: BTreeMap::new(),
            pv_drivers_version: BTreeMap::new(),
            pv_drivers_up_to_date: false,
            memory: BTreeMap::new(),
            disks: BTreeMap::new(),
            networks: BTreeMap::new(),
            other: BTreeMap::new(),
            last_updated: DateTime::EPOCH,
            other_config: BTreeMap::new(),
            live: false,
            can_use_hotplug_vbd: enums::TristateType::Unspecified,
            can_use_hotplug_vif: enums::TristateType::Unspecified,
            pv_drivers_detected: false,
            services: BTreeMap::new(),
        }
    }
}

impl Record for VmGuestMetrics {}

impl Class for VmGuestMetrics {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VM_guest_metrics",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VM_guest_metrics"),
        record: &Type::Record("VM_guest_metrics"),
        whole: Some(whole::<VmGuestMetrics>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("PV_drivers_detected", Type::Bool).honoured(),
            Field::dynamic("PV_drivers_up_to_date", Type::Bool).required().lifecycle(Lifecycle::Deprecated).honoured(),
            Field::dynamic("PV_drivers_version", Type::Map(&Type::String, &Type::String)).required().honoured(),
            Field::dynamic("can_use_hotplug_vbd", Type::Enum(enums::TristateType::TABLE))
                .starts_as(r#""unspecified""#)
                .honoured(),
            Field::dynamic("can_use_hotplug_vif", Type::Enum(enums::TristateType::TABLE))
                .starts_as(r#""unspecified""#)
                .honoured(),
            Field::dynamic("disks", Type::Map(&Type::String, &Type::String)).lifecycle(Lifecycle::Removed),
            Field::dynamic("last_updated", Type::DateTime).required().honoured(),
            Field::dynamic("live", Type::Bool).honoured(),
            Field::dynamic("memory", Type::Map(&Type::String, &Type::String)).lifecycle(Lifecycle::Removed),
            Field::dynamic("netbios_name", Type::Map(&Type::String, &Type::String)).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("networks", Type::Map(&Type::String, &Type::String)).required().honoured(),
            Field::dynamic("os_version", Type::Map(&Type::String, &Type::String)).required().honoured(),
            Field::dynamic("other", Type::Map(&Type::String, &Type::String)).required().honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN).kept(),
            Field::dynamic("services", Type::Map(&Type::String, &Type::String)).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[],
    };
}
