// Written by scripts/model.
//! The class `VBD`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A disk or a drive of a virtual machine: the connection of a VM and a VDI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Vbd {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// What may be done with it now. It is advice: each operation checks again.
    pub allowed_operations: Vec<enums::VbdOperations>,
    /// What is being done with it: the kind of the operation by the reference of its task.
    pub current_operations: BTreeMap<String, enums::VbdOperations>,
    /// The VM.
    #[serde(rename = "VM")]
    pub vm: Ref<super::Vm>,
    /// The disk; null in an empty drive.
    #[serde(rename = "VDI")]
    pub vdi: Ref<super::Vdi>,
    /// The name that its guest is expected to give it while it is attached, such as `vda`.
    pub device: String,
    /// Its place: a number as text, `0` to `26`; `autodetect` takes the first free one.
    pub userdevice: String,
    /// Whether the VM boots from it. The first one that is marked counts, or the first disk.
    pub bootable: bool,
    /// Whether the guest may write: that of a drive is `RO`.
    pub mode: enums::VbdMode,
    /// A disk, or a drive, which is a disk that its guest cannot write and has only while a disc is in it. `Floppy`
    /// is refused.
    pub r#type: enums::VbdType,
    /// Kept as clients set it; xvirt does not use it.
    pub unpluggable: bool,
    /// Not honoured: always `false`.
    pub storage_lock: bool,
    /// Whether it is a drive without a disc.
    pub empty: bool,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Whether the guest has it now.
    pub currently_attached: bool,
    /// Not honoured: always `0`.
    pub status_code: i64,
    /// Not honoured: always empty.
    pub status_detail: String,
    /// Not honoured: always empty.
    pub runtime_properties: BTreeMap<String, String>,
    /// `ratelimit` for the limits in qos_algorithm_params, or empty for none.
    pub qos_algorithm_type: String,
    /// Limits: `operations_per_second`, `operations_burst`, `bytes_per_second`, `bytes_burst`. Changed while it runs.
    pub qos_algorithm_params: BTreeMap<String, String>,
    /// The values of qos_algorithm_type: `ratelimit`.
    pub qos_supported_algorithms: Vec<String>,
    /// Not honoured: always the null reference.
    pub metrics: Ref<super::VbdMetrics>,
}

impl Default for Vbd {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            allowed_operations: Vec::new(),
            current_operations: BTreeMap::new(),
            vm: Ref::NULL,
            vdi: Ref::NULL,
            device: String::new(),
            userdevice: String::new(),
            bootable: false,
            mode: enums::VbdMode::Rw,
            r#type: enums::VbdType::Disk,
            unpluggable: true,
            storage_lock: false,
            empty: false,
            other_config: BTreeMap::new(),
            currently_attached: false,
            status_code: 0,
            status_detail: String::new(),
            runtime_properties: BTreeMap::new(),
            qos_algorithm_type: String::new(),
            qos_algorithm_params: BTreeMap::new(),
            qos_supported_algorithms: vec!["ratelimit".to_owned()],
            metrics: Ref::NULL,
        }
    }
}

impl Record for Vbd {}

impl Class for Vbd {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VBD",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VBD"),
        record: &Type::Record("VBD"),
        whole: Some(whole::<Vbd>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("VDI", Type::Ref("VDI")).required().honoured(),
            Field::constant("VM", Type::Ref("VM")).required().honoured(),
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::VbdOperations::TABLE))).honoured(),
            Field::writable("bootable", Type::Bool, Roles::VM_ADMIN).required().honoured(),
            Field::dynamic("current_operations", Type::Map(&Type::String, &Type::Enum(enums::VbdOperations::TABLE)))
                .honoured(),
            Field::constant("currently_attached", Type::Bool).honoured(),
            Field::constant("device", Type::String).honoured(),
            Field::constant("empty", Type::Bool).required().honoured(),
            Field::dynamic("metrics", Type::Ref("VBD_metrics")).lifecycle(Lifecycle::Removed),
            Field::constant("mode", Type::Enum(enums::VbdMode::TABLE)).required().starts_as(r#""RW""#).honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN).required().kept(),
            Field::writable("qos_algorithm_params", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN)
                .required()
                .honoured(),
            Field::writable("qos_algorithm_type", Type::String, Roles::VM_ADMIN).required().honoured(),
            Field::dynamic("qos_supported_algorithms", Type::Set(&Type::String))
                .required()
                .starts_as(r#"["ratelimit"]"#)
                .honoured(),
            Field::dynamic("runtime_properties", Type::Map(&Type::String, &Type::String)).required(),
            Field::dynamic("status_code", Type::Int).required(),
            Field::dynamic("status_detail", Type::String).required(),
            Field::dynamic("storage_lock", Type::Bool).required(),
            Field::writable("type", Type::Enum(enums::VbdType::TABLE), Roles::VM_ADMIN)
                .required()
                .starts_as(r#""Disk""#)
                .honoured(),
            Field::writable("unpluggable", Type::Bool, Roles::VM_ADMIN).starts_as("true").kept(),
            Field::writable("userdevice", Type::String, Roles::VM_ADMIN).required().honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[
            Verb::new("assert_attachable", &[("self", Type::Ref("VBD"))], Type::Void, Roles::VM_ADMIN),
            Verb::new("create", &[("args", Type::Record("VBD"))], Type::Ref("VBD"), Roles::VM_ADMIN),
            Verb::new("destroy", &[("self", Type::Ref("VBD"))], Type::Void, Roles::VM_ADMIN),
            Verb::new("eject", &[("vbd", Type::Ref("VBD"))], Type::Void, Roles::VM_OPERATOR)
                .errors(&["VBD_NOT_REMOVABLE_MEDIA", "VBD_IS_EMPTY"]),
            Verb::new(
                "insert",
                &[("vbd", Type::Ref("VBD")), ("vdi", Type::Ref("VDI"))],
                Type::Void,
                Roles::VM_OPERATOR,
            )
            .errors(&["VBD_NOT_REMOVABLE_MEDIA", "VBD_NOT_EMPTY"]),
            Verb::new("plug", &[("self", Type::Ref("VBD"))], Type::Void, Roles::VM_ADMIN),
            Verb::new(
                "set_mode",
                &[("self", Type::Ref("VBD")), ("value", Type::Enum(enums::VbdMode::TABLE))],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new("unplug", &[("self", Type::Ref("VBD"))], Type::Void, Roles::VM_ADMIN)
                .errors(&["DEVICE_DETACH_REJECTED", "DEVICE_ALREADY_DETACHED"]),
            Verb::new("unplug_force", &[("self", Type::Ref("VBD"))], Type::Void, Roles::VM_ADMIN),
        ],
    };
}
