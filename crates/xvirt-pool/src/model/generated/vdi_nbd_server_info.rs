// Written by scripts/model.
//! The class `vdi_nbd_server_info`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type};

/// The class `vdi_nbd_server_info`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VdiNbdServerInfo {}

impl Class for VdiNbdServerInfo {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "vdi_nbd_server_info",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("vdi_nbd_server_info"),
        record: &Type::Record("vdi_nbd_server_info"),
        whole: None,
        read: Roles::NONE,
        queries: &[],
        fields: &[
            Field::dynamic("address", Type::String).required().read_by(Roles::NONE),
            Field::dynamic("cert", Type::String).required().read_by(Roles::NONE),
            Field::dynamic("exportname", Type::String).required().read_by(Roles::NONE),
            Field::dynamic("port", Type::Int).required().read_by(Roles::NONE),
            Field::dynamic("subject", Type::String).required().read_by(Roles::NONE),
        ],
        verbs: &[],
    };
}
