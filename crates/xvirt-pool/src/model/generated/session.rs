// Written by scripts/model.
//! The class `session`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A login. Its reference is a secret; the UUID in its record is another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Session {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The host at which it was made.
    pub this_host: Ref<super::Host>,
    /// The local user, if it is one's.
    pub this_user: Ref<super::User>,
    /// When it was used last.
    pub last_active: DateTime,
    /// Whether it is a member's, and no user's.
    pub pool: bool,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Whether every role holds: for root on the socket of a host, and for members.
    pub is_local_superuser: bool,
    /// The user of a directory, if it is one's.
    pub subject: Ref<super::Subject>,
    /// When the user was last found to be still allowed.
    pub validation_time: DateTime,
    /// The identifier of the user.
    pub auth_user_sid: String,
    /// The name of the user.
    pub auth_user_name: String,
    /// The verbs that its roles allow.
    pub rbac_permissions: Vec<String>,
    /// The tasks that were begun by it.
    pub tasks: Vec<Ref<super::Task>>,
    /// The session of which it is a part.
    pub parent: Ref<super::Session>,
    /// The name that the client gave itself.
    pub originator: String,
    /// Whether it was made with a certificate instead of a password.
    pub client_certificate: bool,
}

impl Record for Session {}

impl Class for Session {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "session",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("session"),
        record: &Type::Record("session"),
        whole: Some(whole::<Session>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid"],
        fields: &[
            Field::dynamic("auth_user_name", Type::String).honoured(),
            Field::dynamic("auth_user_sid", Type::String).honoured(),
            Field::dynamic("client_certificate", Type::Bool).honoured(),
            Field::dynamic("is_local_superuser", Type::Bool).honoured(),
            Field::dynamic("last_active", Type::DateTime).required().honoured(),
            Field::dynamic("originator", Type::String).honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_ADMIN).kept(),
            Field::constant("parent", Type::Ref("session")).honoured(),
            Field::dynamic("pool", Type::Bool).required().honoured(),
            Field::constant("rbac_permissions", Type::Set(&Type::String)).honoured(),
            Field::dynamic("subject", Type::Ref("subject")).honoured(),
            Field::dynamic("tasks", Type::Set(&Type::Ref("task"))).required().honoured(),
            Field::dynamic("this_host", Type::Ref("host")).required().honoured(),
            Field::dynamic("this_user", Type::Ref("user")).required().honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::dynamic("validation_time", Type::DateTime).honoured(),
        ],
        verbs: &[
            Verb::new(
                "change_password",
                &[("old_pwd", Type::String), ("new_pwd", Type::String)],
                Type::Void,
                Roles::NONE,
            ),
            Verb::new("create_from_db_file", &[("filename", Type::String)], Type::Ref("session"), Roles::NONE),
            Verb::new("get_all_subject_identifiers", &[], Type::Set(&Type::String), Roles::READ_ONLY),
            Verb::new("local_logout", &[], Type::Void, Roles::POOL_ADMIN),
            Verb::new(
                "login_with_password",
                &[
                    ("uname", Type::String),
                    ("pwd", Type::String),
                    ("version", Type::String),
                    ("originator", Type::String),
                ],
                Type::Ref("session"),
                Roles::READ_ONLY,
            )
            .optional(2)
            .without_session()
            .errors(&["SESSION_AUTHENTICATION_FAILED", "HOST_IS_SLAVE"]),
            Verb::new("logout", &[], Type::Void, Roles::READ_ONLY),
            Verb::new(
                "logout_subject_identifier",
                &[("subject_identifier", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "slave_local_login_with_password",
                &[("uname", Type::String), ("pwd", Type::String)],
                Type::Ref("session"),
                Roles::POOL_ADMIN,
            )
            .without_session(),
        ],
    };
}
