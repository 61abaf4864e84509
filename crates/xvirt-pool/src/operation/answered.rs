//! Which verbs are answered. Those that classes have because of their fields, and queries, always are; the others are
//! listed here, because what is not answered says so before anything else is looked at.

use serde_json::Value;

use super::{Failure, codes};
use crate::model::{CLASSES, Call, ClassTable, Lifecycle};

/// The verbs of the classes themselves.
const ANSWERED: [(&str, &[&str]); 12] = [
    ("SR", &["create", "destroy", "forget", "get_supported_types", "scan", "set_name_description", "set_name_label"]),
    ("VBD", &["create", "destroy", "plug", "set_mode", "unplug", "unplug_force"]),
    (
        "VDI",
        &[
            "create",
            "destroy",
            "resize",
            "resize_online",
            "set_name_description",
            "set_name_label",
            "set_read_only",
            "set_sharable",
        ],
    ),
    ("VIF", &["create", "destroy", "plug", "unplug", "unplug_force"]),
    (
        "VM",
        &[
            "add_to_blocked_operations",
            "add_to_other_config",
            "add_to_platform",
            "assert_operation_valid",
            "clean_reboot",
            "clean_shutdown",
            "clone",
            "compute_memory_overhead",
            "create",
            "destroy",
            "get_allowed_VBD_devices",
            "get_allowed_VIF_devices",
            "get_possible_hosts",
            "hard_reboot",
            "hard_shutdown",
            "pause",
            "provision",
            "remove_from_blocked_operations",
            "remove_from_other_config",
            "remove_from_platform",
            "resume",
            "resume_on",
            "set_VCPUs_at_startup",
            "set_VCPUs_max",
            "set_actions_after_crash",
            "set_bios_strings",
            "set_blocked_operations",
            "set_domain_type",
            "set_is_default_template",
            "set_memory",
            "set_memory_dynamic_max",
            "set_memory_dynamic_min",
            "set_memory_dynamic_range",
            "set_memory_limits",
            "set_memory_static_max",
            "set_memory_static_min",
            "set_memory_static_range",
            "set_other_config",
            "set_platform",
            "start",
            "start_on",
            "suspend",
            "unpause",
            "update_allowed_operations",
            "xvirt_upgrade_worker",
        ],
    ),
    ("event", &["from", "get_current_id", "inject", "next", "register", "unregister"]),
    (
        "host",
        &[
            "compute_free_memory",
            "get_server_localtime",
            "get_servertime",
            #[cfg(feature = "xenapi")]
            "install_server_certificate",
            "list_methods",
        ],
    ),
    (
        "message",
        &[
            "create",
            "destroy",
            "destroy_many",
            "get",
            "get_all",
            "get_all_records",
            "get_all_records_where",
            "get_by_uuid",
            "get_record",
            "get_since",
        ],
    ),
    ("network", &["create", "destroy"]),
    (
        "session",
        &[
            "change_password",
            "get_all_subject_identifiers",
            "local_logout",
            "login_with_password",
            "logout",
            "logout_subject_identifier",
            "slave_local_login_with_password",
        ],
    ),
    (
        "task",
        &[
            "add_to_other_config",
            "cancel",
            "create",
            "destroy",
            "remove_from_other_config",
            "set_error_info",
            "set_other_config",
            "set_progress",
            "set_result",
            "set_status",
        ],
    ),
    ("user", &["destroy", "xvirt_create", "xvirt_get_all_records", "xvirt_set_password", "xvirt_set_role"]),
];

fn is_answered(table: &ClassTable, name: &str, call: Call) -> bool {
    let listed = || ANSWERED.iter().any(|(class, verbs)| *class == table.name && verbs.contains(&name));
    !matches!(call, Call::Own(_)) || listed()
}

/// Checks that a verb is answered.
///
/// # Errors
/// `MESSAGE_REMOVED` for one that XenAPI no longer has, and `NOT_IMPLEMENTED`.
pub(crate) fn require(table: &ClassTable, name: &str, call: Call) -> Result<(), Failure> {
    if is_answered(table, name, call) {
        return Ok(());
    }
    let verb = format!("{}.{name}", table.name);
    match call {
        Call::Own(own) if own.lifecycle == Lifecycle::Removed => Err(Failure::new("MESSAGE_REMOVED", [] as [&str; 0])
            .with_remedy(format!("use another verb: XenAPI no longer has {verb}"))),
        _ => Err(codes::not_implemented(&verb)),
    }
}

/// The names of all verbs that are answered, for `system.listMethods`.
pub(crate) fn all() -> Vec<Value> {
    let of_class = |table: &&'static ClassTable| {
        let answered = table.calls().into_iter().filter(|(name, call)| is_answered(table, name, *call));
        answered.map(|(name, _)| Value::from(format!("{}.{name}", table.name))).collect::<Vec<_>>()
    };
    let mut all: Vec<Value> = CLASSES.iter().flat_map(of_class).collect();
    all.push(Value::from("system.listMethods"));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::class;

    #[test]
    fn what_is_listed_exists() {
        for (name, verbs) in ANSWERED {
            let table = class(name).unwrap();
            assert!(verbs.is_sorted(), "{name}");
            for verb in verbs {
                assert!(table.verb(verb).is_some(), "{name}.{verb}");
            }
        }
    }

    #[test]
    fn what_is_not_answered_says_so_by_name() {
        let code = |name: &str, verb: &str| {
            let table = class(name).unwrap();
            require(table, verb, table.call(verb).unwrap()).map_err(|failure| failure.code)
        };
        assert_eq!(code("VM", "start"), Ok(()));
        assert_eq!(code("VM", "get_name_label"), Ok(()));
        assert_eq!(code("VM", "set_protection_policy"), Err("MESSAGE_REMOVED".to_owned()));
        assert_eq!(code("pool", "enable_ha"), Err("NOT_IMPLEMENTED".to_owned()));
    }
}
