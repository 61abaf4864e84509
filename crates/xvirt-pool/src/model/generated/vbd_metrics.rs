// Written by scripts/model.
//! The class `VBD_metrics`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Roles, Type, record::whole};

/// A class of earlier versions of XenAPI, of which there is no object: data sources of the VM have the numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct VbdMetrics {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// Not honoured: always `0.0`.
    pub io_read_kbs: f64,
    /// Not honoured: always `0.0`.
    pub io_write_kbs: f64,
    /// Not honoured: always `19700101T00:00:00Z`.
    pub last_updated: DateTime,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
}

impl Record for VbdMetrics {}

impl Class for VbdMetrics {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VBD_metrics",
        lifecycle: Lifecycle::Removed,
        reference: &Type::Ref("VBD_metrics"),
        record: &Type::Record("VBD_metrics"),
        whole: Some(whole::<VbdMetrics>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("io_read_kbs", Type::Float).lifecycle(Lifecycle::Removed),
            Field::dynamic("io_write_kbs", Type::Float).lifecycle(Lifecycle::Removed),
            Field::dynamic("last_updated", Type::DateTime).lifecycle(Lifecycle::Removed),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN)
                .lifecycle(Lifecycle::Removed)
                .kept(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[],
    };
}
