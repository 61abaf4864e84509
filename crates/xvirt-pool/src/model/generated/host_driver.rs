// Written by scripts/model.
//! The class `Host_driver`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `Host_driver`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostDriver {}

impl Class for HostDriver {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "Host_driver",
        lifecycle: Lifecycle::Prototyped,
        reference: &Type::Ref("Host_driver"),
        record: &Type::Record("Host_driver"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("active_variant", Type::Ref("Driver_variant")).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("description", Type::String).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("friendly_name", Type::String).required().lifecycle(Lifecycle::Prototyped),
            Field::constant("host", Type::Ref("host")).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("info", Type::String).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("name", Type::String).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("selected_variant", Type::Ref("Driver_variant")).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("type", Type::String).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("uuid", Type::String).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("variants", Type::Set(&Type::Ref("Driver_variant")))
                .required()
                .lifecycle(Lifecycle::Prototyped),
        ],
        verbs: &[
            Verb::new("deselect", &[("self", Type::Ref("Host_driver"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("rescan", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "select",
                &[("self", Type::Ref("Host_driver")), ("variant", Type::Ref("Driver_variant"))],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
        ],
    };
}
