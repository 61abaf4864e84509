// Written by scripts/model.
//! The class `VM_metrics`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Roles, Type, record::whole};

/// What is measured of a virtual machine. It is there as long as the machine is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct VmMetrics {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// Bytes of host memory that its guest has now.
    pub memory_actual: i64,
    /// The number of vCPUs it runs with; 0 while it is halted.
    #[serde(rename = "VCPUs_number")]
    pub vcpus_number: i64,
    /// Not honoured: always empty.
    #[serde(rename = "VCPUs_utilisation")]
    pub vcpus_utilisation: BTreeMap<i64, f64>,
    /// Not honoured: always empty.
    #[serde(rename = "VCPUs_CPU")]
    pub vcpus_cpu: BTreeMap<i64, i64>,
    /// Not honoured: always empty.
    #[serde(rename = "VCPUs_params")]
    pub vcpus_params: BTreeMap<String, String>,
    /// Not honoured: always empty.
    #[serde(rename = "VCPUs_flags")]
    pub vcpus_flags: BTreeMap<i64, Vec<String>>,
    /// Not honoured: always empty.
    pub state: Vec<String>,
    /// When it was started last.
    pub start_time: DateTime,
    /// When it was created.
    pub install_time: DateTime,
    /// When this record changed last.
    pub last_updated: DateTime,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Whether it runs by the processor's virtualization: true while it runs.
    pub hvm: bool,
    /// Not honoured: always `false`.
    pub nested_virt: bool,
    /// Whether it cannot migrate, as it was started: a device of it cannot move.
    pub nomigrate: bool,
    /// How its guest is run: `hvm` while it runs, `unspecified` otherwise.
    pub current_domain_type: enums::DomainType,
    /// Not honoured: always `false`.
    pub numa_optimised: bool,
    /// Not honoured: always `0`.
    pub numa_nodes: i64,
    /// Not honoured: always empty.
    pub numa_node_memory: BTreeMap<i64, i64>,
}

impl Default for VmMetrics {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            memory_actual: 0,
            vcpus_number: 0,
            vcpus_utilisation: BTreeMap::new(),
            vcpus_cpu: BTreeMap::new(),
            vcpus_params: BTreeMap::new(),
            vcpus_flags: BTreeMap::new(),
            state: Vec::new(),
            start_time: DateTime::EPOCH,
            install_time: DateTime::EPOCH,
            last_updated: DateTime::EPOCH,
            other_config: BTreeMap::new(),
            hvm: false,
            nested_virt: false,
            nomigrate: false,
            current_domain_type: enums::DomainType::Unspecified,
            numa_optimised: false,
            numa_nodes: 0,
            numa_node_memory: BTreeMap::new(),
        }
    }
}

impl Record for VmMetrics {}

impl Class for VmMetrics {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VM_metrics",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VM_metrics"),
        record: &Type::Record("VM_metrics"),
        whole: Some(whole::<VmMetrics>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("VCPUs_CPU", Type::Map(&Type::Int, &Type::Int)).required(),
            Field::dynamic("VCPUs_flags", Type::Map(&Type::Int, &Type::Set(&Type::String))).required(),
            Field::dynamic("VCPUs_number", Type::Int).required().honoured(),
            Field::dynamic("VCPUs_params", Type::Map(&Type::String, &Type::String)).required(),
            Field::dynamic("VCPUs_utilisation", Type::Map(&Type::Int, &Type::Float)).lifecycle(Lifecycle::Removed),
            Field::dynamic("current_domain_type", Type::Enum(enums::DomainType::TABLE))
                .starts_as(r#""unspecified""#)
                .honoured(),
            Field::dynamic("hvm", Type::Bool).honoured(),
            Field::dynamic("install_time", Type::DateTime).required().honoured(),
            Field::dynamic("last_updated", Type::DateTime).required().honoured(),
            Field::dynamic("memory_actual", Type::Int).required().honoured(),
            Field::dynamic("nested_virt", Type::Bool),
            Field::dynamic("nomigrate", Type::Bool).honoured(),
            Field::dynamic("numa_node_memory", Type::Map(&Type::Int, &Type::Int)).lifecycle(Lifecycle::Prototyped),
            Field::constant("numa_nodes", Type::Int).lifecycle(Lifecycle::Prototyped),
            Field::constant("numa_optimised", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN).kept(),
            Field::dynamic("start_time", Type::DateTime).required().honoured(),
            Field::dynamic("state", Type::Set(&Type::String)).required(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[],
    };
}
