// Written by scripts/model.
//! The class `VDI`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A disk: an image in a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Vdi {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name for people; several objects may have the same.
    pub name_label: String,
    /// The description for people.
    pub name_description: String,
    /// What may be done with it now. It is advice: each operation checks again.
    pub allowed_operations: Vec<enums::VdiOperations>,
    /// What is being done with it: the kind of the operation by the reference of its task.
    pub current_operations: BTreeMap<String, enums::VdiOperations>,
    /// The repository that has it.
    #[serde(rename = "SR")]
    pub sr: Ref<super::Sr>,
    /// Its connections to VMs.
    #[serde(rename = "VBDs")]
    pub vbds: Vec<Ref<super::Vbd>>,
    /// Not honoured: always empty.
    pub crash_dumps: Vec<Ref<super::Crashdump>>,
    /// Bytes that a guest sees: a multiple of 512. It only grows.
    pub virtual_size: i64,
    /// Bytes that it takes in its repository.
    pub physical_utilisation: i64,
    /// What it is for: `user` and `system` for disks of guests, `suspend` for the memory of a VM.
    pub r#type: enums::VdiType,
    /// Kept as clients set it; xvirt does not use it.
    pub sharable: bool,
    /// Whether nobody may write it.
    pub read_only: bool,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Not honoured: always `false`.
    pub storage_lock: bool,
    /// The path of its image on the host, which xvirt chooses.
    pub location: String,
    /// Whether it has a record of its own, and is no layer below other disks only.
    pub managed: bool,
    /// Whether its repository was scanned and did not have it.
    pub missing: bool,
    /// Not honoured: always the null reference.
    pub parent: Ref<super::Vdi>,
    /// Kept as clients set it; xvirt does not use it.
    pub xenstore_data: BTreeMap<String, String>,
    /// `image-format`: `raw` or `qcow2`; `raw` if it is not given. Other keys are kept.
    pub sm_config: BTreeMap<String, String>,
    /// Whether it is a snapshot of a disk.
    pub is_a_snapshot: bool,
    /// The disk of which it is a snapshot.
    pub snapshot_of: Ref<super::Vdi>,
    /// Its snapshots.
    pub snapshots: Vec<Ref<super::Vdi>>,
    /// When it was taken, if it is a snapshot.
    pub snapshot_time: DateTime,
    /// Kept as clients set it; xvirt does not use it.
    pub tags: Vec<String>,
    /// Not honoured: always `false`.
    pub allow_caching: bool,
    /// Not honoured: always `persist`.
    pub on_boot: enums::OnBoot,
    /// Not honoured: always the null reference.
    pub metadata_of_pool: Ref<super::Pool>,
    /// Not honoured: always `false`.
    pub metadata_latest: bool,
    /// Not honoured: always `false`.
    pub is_tools_iso: bool,
    /// Not honoured: always `false`.
    pub cbt_enabled: bool,
}

impl Default for Vdi {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            name_label: String::new(),
            name_description: String::new(),
            allowed_operations: Vec::new(),
            current_operations: BTreeMap::new(),
            sr: Ref::NULL,
            vbds: Vec::new(),
            crash_dumps: Vec::new(),
            virtual_size: 0,
            physical_utilisation: 0,
            r#type: enums::VdiType::User,
            sharable: false,
            read_only: false,
            other_config: BTreeMap::new(),
            storage_lock: false,
            location: String::new(),
            managed: true,
            missing: false,
            parent: Ref::NULL,
            xenstore_data: BTreeMap::new(),
            sm_config: BTreeMap::new(),
            is_a_snapshot: false,
            snapshot_of: Ref::NULL,
            snapshots: Vec::new(),
            snapshot_time: DateTime::EPOCH,
            tags: Vec::new(),
            allow_caching: false,
            on_boot: enums::OnBoot::Persist,
            metadata_of_pool: Ref::NULL,
            metadata_latest: false,
            is_tools_iso: false,
            cbt_enabled: false,
        }
    }
}

impl Record for Vdi {}

impl Class for Vdi {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VDI",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VDI"),
        record: &Type::Record("VDI"),
        whole: Some(whole::<Vdi>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::constant("SR", Type::Ref("SR")).required().honoured(),
            Field::dynamic("VBDs", Type::Set(&Type::Ref("VBD"))).required().honoured(),
            Field::dynamic("allow_caching", Type::Bool),
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::VdiOperations::TABLE))).honoured(),
            Field::dynamic("cbt_enabled", Type::Bool),
            Field::dynamic("crash_dumps", Type::Set(&Type::Ref("crashdump"))).required(),
            Field::dynamic("current_operations", Type::Map(&Type::String, &Type::Enum(enums::VdiOperations::TABLE)))
                .honoured(),
            Field::dynamic("is_a_snapshot", Type::Bool).honoured(),
            Field::dynamic("is_tools_iso", Type::Bool),
            Field::dynamic("location", Type::String).honoured(),
            Field::dynamic("managed", Type::Bool).required().starts_as("true").honoured(),
            Field::dynamic("metadata_latest", Type::Bool),
            Field::dynamic("metadata_of_pool", Type::Ref("pool")),
            Field::dynamic("missing", Type::Bool).required().honoured(),
            Field::constant("name_description", Type::String).honoured(),
            Field::constant("name_label", Type::String).honoured(),
            Field::dynamic("on_boot", Type::Enum(enums::OnBoot::TABLE)).starts_as(r#""persist""#),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN).required().kept(),
            Field::dynamic("parent", Type::Ref("VDI")).required().lifecycle(Lifecycle::Deprecated),
            Field::dynamic("physical_utilisation", Type::Int).required().honoured(),
            Field::constant("read_only", Type::Bool).required().honoured(),
            Field::constant("sharable", Type::Bool).required().kept(),
            Field::writable("sm_config", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN).honoured(),
            Field::dynamic("snapshot_of", Type::Ref("VDI")).honoured(),
            Field::dynamic("snapshot_time", Type::DateTime).honoured(),
            Field::dynamic("snapshots", Type::Set(&Type::Ref("VDI"))).required().honoured(),
            Field::dynamic("storage_lock", Type::Bool).required(),
            Field::writable("tags", Type::Set(&Type::String), Roles::VM_OPERATOR).kept(),
            Field::constant("type", Type::Enum(enums::VdiType::TABLE)).required().starts_as(r#""user""#).honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::constant("virtual_size", Type::Int).required().honoured(),
            Field::writable("xenstore_data", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN).kept(),
        ],
        verbs: &[
            Verb::new(
                "clone",
                &[("vdi", Type::Ref("VDI")), ("driver_params", Type::Map(&Type::String, &Type::String))],
                Type::Ref("VDI"),
                Roles::VM_ADMIN,
            )
            .optional(1),
            Verb::new(
                "copy",
                &[
                    ("vdi", Type::Ref("VDI")),
                    ("sr", Type::Ref("SR")),
                    ("base_vdi", Type::Ref("VDI")),
                    ("into_vdi", Type::Ref("VDI")),
                ],
                Type::Ref("VDI"),
                Roles::VM_ADMIN,
            )
            .optional(3)
            .errors(&["VDI_READONLY", "VDI_TOO_SMALL", "VDI_NOT_SPARSE"]),
            Verb::new("create", &[("args", Type::Record("VDI"))], Type::Ref("VDI"), Roles::VM_ADMIN),
            Verb::new("data_destroy", &[("self", Type::Ref("VDI"))], Type::Void, Roles::VM_ADMIN).errors(&[
                "SR_OPERATION_NOT_SUPPORTED",
                "VDI_MISSING",
                "SR_NOT_ATTACHED",
                "SR_HAS_NO_PBDS",
                "OPERATION_NOT_ALLOWED",
                "VDI_INCOMPATIBLE_TYPE",
                "VDI_NO_CBT_METADATA",
                "VDI_IN_USE",
                "VDI_IS_A_PHYSICAL_DEVICE",
            ]),
            Verb::new("destroy", &[("self", Type::Ref("VDI"))], Type::Void, Roles::VM_ADMIN),
            Verb::new("disable_cbt", &[("self", Type::Ref("VDI"))], Type::Void, Roles::VM_ADMIN).errors(&[
                "SR_OPERATION_NOT_SUPPORTED",
                "VDI_MISSING",
                "SR_NOT_ATTACHED",
                "SR_HAS_NO_PBDS",
                "OPERATION_NOT_ALLOWED",
                "VDI_INCOMPATIBLE_TYPE",
                "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION",
            ]),
            Verb::new("enable_cbt", &[("self", Type::Ref("VDI"))], Type::Void, Roles::VM_ADMIN).errors(&[
                "SR_OPERATION_NOT_SUPPORTED",
                "VDI_MISSING",
                "SR_NOT_ATTACHED",
                "SR_HAS_NO_PBDS",
                "OPERATION_NOT_ALLOWED",
                "VDI_INCOMPATIBLE_TYPE",
                "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION",
            ]),
            Verb::new("forget", &[("vdi", Type::Ref("VDI"))], Type::Void, Roles::VM_ADMIN),
            Verb::new(
                "get_nbd_info",
                &[("self", Type::Ref("VDI"))],
                Type::Set(&Type::Record("vdi_nbd_server_info")),
                Roles::VM_ADMIN,
            )
            .errors(&["VDI_INCOMPATIBLE_TYPE"]),
            Verb::new(
                "introduce",
                &[
                    ("uuid", Type::String),
                    ("name_label", Type::String),
                    ("name_description", Type::String),
                    ("SR", Type::Ref("SR")),
                    ("type", Type::Enum(enums::VdiType::TABLE)),
                    ("sharable", Type::Bool),
                    ("read_only", Type::Bool),
                    ("other_config", Type::Map(&Type::String, &Type::String)),
                    ("location", Type::String),
                    ("xenstore_data", Type::Map(&Type::String, &Type::String)),
                    ("sm_config", Type::Map(&Type::String, &Type::String)),
                    ("managed", Type::Bool),
                    ("virtual_size", Type::Int),
                    ("physical_utilisation", Type::Int),
                    ("metadata_of_pool", Type::Ref("pool")),
                    ("is_a_snapshot", Type::Bool),
                    ("snapshot_time", Type::DateTime),
                    ("snapshot_of", Type::Ref("VDI")),
                ],
                Type::Ref("VDI"),
                Roles::VM_ADMIN,
            )
            .optional(9)
            .errors(&["SR_OPERATION_NOT_SUPPORTED"]),
            Verb::new(
                "list_changed_blocks",
                &[("vdi_from", Type::Ref("VDI")), ("vdi_to", Type::Ref("VDI"))],
                Type::String,
                Roles::VM_OPERATOR,
            )
            .errors(&[
                "SR_OPERATION_NOT_SUPPORTED",
                "VDI_MISSING",
                "SR_NOT_ATTACHED",
                "SR_HAS_NO_PBDS",
                "VDI_IN_USE",
            ]),
            Verb::new("open_database", &[("self", Type::Ref("VDI"))], Type::Ref("session"), Roles::POOL_OPERATOR),
            Verb::new(
                "pool_migrate",
                &[
                    ("vdi", Type::Ref("VDI")),
                    ("sr", Type::Ref("SR")),
                    ("options", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Ref("VDI"),
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new("read_database_pool_uuid", &[("self", Type::Ref("VDI"))], Type::String, Roles::READ_ONLY),
            Verb::new("resize", &[("vdi", Type::Ref("VDI")), ("size", Type::Int)], Type::Void, Roles::VM_ADMIN),
            Verb::new("resize_online", &[("vdi", Type::Ref("VDI")), ("size", Type::Int)], Type::Void, Roles::VM_ADMIN),
            Verb::new("revert", &[("snapshot", Type::Ref("VDI"))], Type::Void, Roles::VM_POWER_ADMIN)
                .errors(&["UNIMPLEMENTED_IN_SM_BACKEND"])
                .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_allow_caching",
                &[("self", Type::Ref("VDI")), ("value", Type::Bool)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_name_description",
                &[("self", Type::Ref("VDI")), ("value", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_name_label",
                &[("self", Type::Ref("VDI")), ("value", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_on_boot",
                &[("self", Type::Ref("VDI")), ("value", Type::Enum(enums::OnBoot::TABLE))],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_read_only",
                &[("self", Type::Ref("VDI")), ("value", Type::Bool)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_sharable",
                &[("self", Type::Ref("VDI")), ("value", Type::Bool)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "snapshot",
                &[("vdi", Type::Ref("VDI")), ("driver_params", Type::Map(&Type::String, &Type::String))],
                Type::Ref("VDI"),
                Roles::VM_ADMIN,
            )
            .optional(1),
            Verb::new("update", &[("vdi", Type::Ref("VDI"))], Type::Void, Roles::VM_ADMIN)
                .errors(&["SR_OPERATION_NOT_SUPPORTED"]),
        ],
    };
}
