// Written by scripts/model.
//! The class `host_metrics`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Roles, Type, record::whole};

/// What is measured of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HostMetrics {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// Bytes of memory of the host.
    pub memory_total: i64,
    /// Bytes that no VM and nothing else has; clients read it although XenAPI has removed it.
    pub memory_free: i64,
    /// Whether the pool hears from it.
    pub live: bool,
    /// When this record changed last.
    pub last_updated: DateTime,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Since when the pool has not heard from it, if it is not live. The power states of its VMs are those of that
    /// time.
    pub xvirt_silent_since: DateTime,
}

impl Record for HostMetrics {}

impl Class for HostMetrics {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "host_metrics",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("host_metrics"),
        record: &Type::Record("host_metrics"),
        whole: Some(whole::<HostMetrics>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("last_updated", Type::DateTime).required().honoured(),
            Field::dynamic("live", Type::Bool).required().honoured(),
            Field::dynamic("memory_free", Type::Int).lifecycle(Lifecycle::Removed).honoured(),
            Field::dynamic("memory_total", Type::Int).required().honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).kept(),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::dynamic("xvirt_silent_since", Type::DateTime).honoured(),
        ],
        verbs: &[],
    };
}
