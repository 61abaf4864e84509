// Written by scripts/model.
//! The class `task`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// Something that is being done, or was done: with its progress, its result, and who asked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Task {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name for people; several objects may have the same.
    pub name_label: String,
    /// The description for people.
    pub name_description: String,
    /// What may be done with it now. It is advice: each operation checks again.
    pub allowed_operations: Vec<enums::TaskAllowedOperations>,
    /// What is being done with it: the kind of the operation by the reference of its task.
    pub current_operations: BTreeMap<String, enums::TaskAllowedOperations>,
    /// When it began.
    pub created: DateTime,
    /// When it ended; 1970 while it goes on.
    pub finished: DateTime,
    /// Whether it goes on, and how it ended.
    pub status: enums::TaskStatusType,
    /// The host that does it.
    pub resident_on: Ref<super::Host>,
    /// How much is done, from 0 to 1.
    pub progress: f64,
    /// The kind of its result: `<none/>`, or the type of a value.
    pub r#type: String,
    /// Its result, written as XML-RPC writes a value.
    pub result: String,
    /// Why it failed: the code, its parameters in order, and what to do.
    pub error_info: Vec<String>,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// The task that it is a part of.
    pub subtask_of: Ref<super::Task>,
    /// Its parts.
    pub subtasks: Vec<Ref<super::Task>>,
    /// Not honoured: always `()`.
    pub backtrace: String,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            name_label: String::new(),
            name_description: String::new(),
            allowed_operations: Vec::new(),
            current_operations: BTreeMap::new(),
            created: DateTime::EPOCH,
            finished: DateTime::EPOCH,
            status: enums::TaskStatusType::Pending,
            resident_on: Ref::NULL,
            progress: 0.0,
            r#type: "<none/>".to_owned(),
            result: String::new(),
            error_info: Vec::new(),
            other_config: BTreeMap::new(),
            subtask_of: Ref::NULL,
            subtasks: Vec::new(),
            backtrace: "()".to_owned(),
        }
    }
}

impl Record for Task {}

impl Class for Task {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "task",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("task"),
        record: &Type::Record("task"),
        whole: Some(whole::<Task>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::TaskAllowedOperations::TABLE)))
                .honoured(),
            Field::dynamic("backtrace", Type::String).starts_as(r#""()""#),
            Field::dynamic("created", Type::DateTime).required().honoured(),
            Field::dynamic(
                "current_operations",
                Type::Map(&Type::String, &Type::Enum(enums::TaskAllowedOperations::TABLE)),
            )
            .honoured(),
            Field::dynamic("error_info", Type::Set(&Type::String)).required().honoured(),
            Field::dynamic("finished", Type::DateTime).required().honoured(),
            Field::dynamic("name_description", Type::String).honoured(),
            Field::dynamic("name_label", Type::String).honoured(),
            Field::dynamic("other_config", Type::Map(&Type::String, &Type::String)).kept(),
            Field::dynamic("progress", Type::Float).required().honoured(),
            Field::dynamic("resident_on", Type::Ref("host")).required().honoured(),
            Field::dynamic("result", Type::String).required().honoured(),
            Field::dynamic("status", Type::Enum(enums::TaskStatusType::TABLE))
                .required()
                .starts_as(r#""pending""#)
                .honoured(),
            Field::dynamic("subtask_of", Type::Ref("task")).honoured(),
            Field::dynamic("subtasks", Type::Set(&Type::Ref("task"))).required().honoured(),
            Field::dynamic("type", Type::String).required().starts_as(r#""<none/>""#).honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[
            Verb::new(
                "add_to_other_config",
                &[("self", Type::Ref("task")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::READ_ONLY,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new("cancel", &[("task", Type::Ref("task"))], Type::Void, Roles::READ_ONLY)
                .errors(&["OPERATION_NOT_ALLOWED"]),
            Verb::new(
                "create",
                &[("label", Type::String), ("description", Type::String)],
                Type::Ref("task"),
                Roles::READ_ONLY,
            ),
            Verb::new("destroy", &[("self", Type::Ref("task"))], Type::Void, Roles::READ_ONLY),
            Verb::new(
                "remove_from_other_config",
                &[("self", Type::Ref("task")), ("key", Type::String)],
                Type::Void,
                Roles::READ_ONLY,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_error_info",
                &[("self", Type::Ref("task")), ("value", Type::Set(&Type::String))],
                Type::Void,
                Roles::READ_ONLY,
            ),
            Verb::new(
                "set_other_config",
                &[("self", Type::Ref("task")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::READ_ONLY,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_progress",
                &[("self", Type::Ref("task")), ("value", Type::Float)],
                Type::Void,
                Roles::READ_ONLY,
            ),
            Verb::new(
                "set_result",
                &[("self", Type::Ref("task")), ("value", Type::String)],
                Type::Void,
                Roles::READ_ONLY,
            ),
            Verb::new(
                "set_status",
                &[("self", Type::Ref("task")), ("value", Type::Enum(enums::TaskStatusType::TABLE))],
                Type::Void,
                Roles::READ_ONLY,
            ),
        ],
    };
}
