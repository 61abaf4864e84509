// Written by scripts/model.
//! The class `PIF_metrics`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Roles, Type, record::whole};

/// What is known of a physical network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PifMetrics {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// Not honoured: always `0.0`.
    pub io_read_kbs: f64,
    /// Not honoured: always `0.0`.
    pub io_write_kbs: f64,
    /// Whether its link is up.
    pub carrier: bool,
    /// The number of its maker on PCI, in hexadecimal digits.
    pub vendor_id: String,
    /// The name of its maker.
    pub vendor_name: String,
    /// The number of its model on PCI, in hexadecimal digits.
    pub device_id: String,
    /// The name of its model.
    pub device_name: String,
    /// Mbit each second; 0 if it is not known.
    pub speed: i64,
    /// Whether it sends and receives at the same time.
    pub duplex: bool,
    /// Its place on PCI, such as `0000:00:1f.6`.
    pub pci_bus_path: String,
    /// When this record changed last.
    pub last_updated: DateTime,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
}

impl Record for PifMetrics {}

impl Class for PifMetrics {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "PIF_metrics",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("PIF_metrics"),
        record: &Type::Record("PIF_metrics"),
        whole: Some(whole::<PifMetrics>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("carrier", Type::Bool).required().honoured(),
            Field::dynamic("device_id", Type::String).required().honoured(),
            Field::dynamic("device_name", Type::String).required().honoured(),
            Field::dynamic("duplex", Type::Bool).required().honoured(),
            Field::dynamic("io_read_kbs", Type::Float).lifecycle(Lifecycle::Removed),
            Field::dynamic("io_write_kbs", Type::Float).lifecycle(Lifecycle::Removed),
            Field::dynamic("last_updated", Type::DateTime).required().honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).kept(),
            Field::dynamic("pci_bus_path", Type::String).required().honoured(),
            Field::dynamic("speed", Type::Int).required().honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::dynamic("vendor_id", Type::String).required().honoured(),
            Field::dynamic("vendor_name", Type::String).required().honoured(),
        ],
        verbs: &[],
    };
}
