//! What clients of XenServer expect: the package `XenAPI` of PyPI, `xen-api` of npm, and Ansible's modules.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::*;
use super::default_record;

/// The fields that these clients read without asking whether they are there.
const READ: [(&str, &[&str]); 9] = [
    (
        "VM",
        &[
            "uuid",
            "name_label",
            "power_state",
            "is_a_template",
            "is_default_template",
            "is_a_snapshot",
            "is_control_domain",
            "resident_on",
            "affinity",
            "guest_metrics",
            "other_config",
            "platform",
            "blocked_operations",
            "current_operations",
            "memory_static_max",
            "VCPUs_max",
            "VCPUs_at_startup",
            "VBDs",
            "VIFs",
        ],
    ),
    ("VM_guest_metrics", &["networks", "other", "os_version", "PV_drivers_detected"]),
    ("pool", &["master", "default_SR", "other_config", "restrictions"]),
    (
        "host",
        &[
            "address",
            "enabled",
            "software_version",
            "other_config",
            "API_version_major",
            "API_version_minor",
            "metrics",
        ],
    ),
    ("host_metrics", &["memory_total", "memory_free", "live"]),
    ("VIF", &["device", "network", "MAC", "MTU", "currently_attached"]),
    ("VBD", &["device", "userdevice", "VDI", "type", "empty", "currently_attached", "unpluggable"]),
    ("task", &["status", "progress", "result", "error_info", "other_config"]),
    ("PIF", &["management", "network", "device", "VLAN"]),
];

#[test]
fn records_have_what_clients_read() {
    for (name, fields) in READ {
        let record = default_record(class(name).unwrap().whole.unwrap());
        for field in fields {
            assert!(record.get(field).is_some(), "{name}.{field}");
        }
    }
}

#[test]
fn a_record_of_a_vm_is_what_clients_take_it_for() {
    let vm = Vm { memory_static_max: 1 << 40, ..Vm::default() }.to_value().unwrap();
    assert_eq!(vm.as_object().unwrap().len(), class("VM").unwrap().fields.len());
    // Numbers are numbers, and nothing is null: a reference to no object is a text.
    assert_eq!(vm["memory_static_max"].as_i64(), Some(1 << 40));
    assert_eq!((&vm["HVM_shadow_multiplier"], &vm["resident_on"]), (&Value::from(1.0), &"OpaqueRef:NULL".into()));
    assert_eq!((&vm["power_state"], &vm["snapshot_time"]), (&"Halted".into(), &"19700101T00:00:00Z".into()));
    assert!(vm["VBDs"].is_array() && vm["other_config"].is_object() && vm["is_a_template"].is_boolean());
    assert!(!vm.to_string().contains("null"));
}

#[test]
fn creating_an_object_takes_the_members_that_clients_give() {
    let mandatory = |name| -> BTreeSet<&str> {
        let given = |field: &&Field| field.required && field.qualifier != Qualifier::DynamicRo;
        class(name).unwrap().fields.iter().filter(given).map(|field| field.name).collect()
    };
    let vdi = ["SR", "virtual_size", "type", "sharable", "read_only", "other_config"];
    assert_eq!(mandatory("VDI"), vdi.into());
    let vbd = [
        "VM",
        "VDI",
        "userdevice",
        "bootable",
        "mode",
        "type",
        "empty",
        "other_config",
        "qos_algorithm_type",
        "qos_algorithm_params",
    ];
    assert_eq!(mandatory("VBD"), vbd.into());
    let vif = ["device", "network", "VM", "MAC", "MTU", "other_config", "qos_algorithm_type", "qos_algorithm_params"];
    assert_eq!(mandatory("VIF"), vif.into());
}

#[test]
fn what_clients_call_exists() {
    for name in [
        "session.login_with_password",
        "session.logout",
        "session.get_this_host",
        "pool.get_all_records",
        "host.get_API_version_major",
        "host.migrate_receive",
        "event.from",
        "event.inject",
        "event.register",
        "event.next",
        "task.create",
        "task.set_status",
        "task.cancel",
        "task.destroy",
        "VM.snapshot",
        "VM.set_is_a_template",
        "VM.set_is_default_template",
        "VM.provision",
        "VM.pool_migrate",
        "VM.set_memory_limits",
        "VM.get_allowed_VBD_devices",
        "VM.get_allowed_VIF_devices",
        "VBD.unplug_force",
        "VBD.set_unpluggable",
        "VIF.configure_ipv4",
        "VDI.list_changed_blocks",
        "pool.create_VLAN_from_PIF",
    ] {
        let (class_name, verb) = name.split_once('.').unwrap();
        assert!(class(class_name).unwrap().call(verb).is_some(), "{name}");
    }
}
