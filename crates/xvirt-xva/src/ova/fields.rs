//! The required fields of each class of objects: those of XCP-ng 8.3, a superset of what older hosts require.
//!
//! To an importer, a missing field is an error unless its version has a default for it, so all fields are written.

use super::document::Object;
use super::value::{Record, Value};

/// A null reference.
pub(super) const NULL: &str = "OpaqueRef:NULL";
/// The time for "never".
const EPOCH: &str = "19700101T00:00:00Z";

/// The default of a field.
#[derive(Clone, Copy)]
enum Initial {
    Text(&'static str),
    Flag(bool),
    Double(&'static str),
    Epoch,
    Null,
    Set,
    Map,
}

use Initial::{Double, Epoch, Flag, Map, Null, Set, Text};

impl Initial {
    fn value(self) -> Value {
        match self {
            Text(text) => Value::text(text),
            Flag(flag) => Value::Flag(flag),
            Double(text) => Value::Double(text.to_owned()),
            Epoch => Value::Date(EPOCH.to_owned()),
            Null => Value::text(NULL),
            Set => Value::Array(Vec::new()),
            Map => Value::Struct(Record::default()),
        }
    }
}

/// Adds missing fields to an object.
pub(super) fn complete(object: &mut Object) {
    let fields = CLASSES.iter().find(|(class, _)| *class == object.class).map_or(&[][..], |(_, fields)| fields);
    for (name, default) in fields {
        if object.fields.get(name).is_none() {
            object.fields.0.push(((*name).to_owned(), default.value()));
        }
    }
}

type Fields = &'static [(&'static str, Initial)];

const CLASSES: [(&str, Fields); 6] =
    [("VM", VM), ("VBD", VBD), ("VIF", VIF), ("network", NETWORK), ("VDI", VDI), ("SR", SR)];

const VM: Fields = &[
    ("uuid", Text("")),
    ("allowed_operations", Set),
    ("current_operations", Map),
    ("name_label", Text("")),
    ("name_description", Text("")),
    ("power_state", Text("Halted")),
    ("user_version", Text("0")),
    ("is_a_template", Flag(false)),
    ("is_default_template", Flag(false)),
    ("suspend_VDI", Null),
    ("resident_on", Null),
    ("scheduled_to_be_resident_on", Null),
    ("affinity", Null),
    ("memory_overhead", Text("0")),
    ("memory_target", Text("0")),
    ("memory_static_max", Text("0")),
    ("memory_dynamic_max", Text("0")),
    ("memory_dynamic_min", Text("0")),
    ("memory_static_min", Text("0")),
    ("VCPUs_params", Map),
    ("VCPUs_max", Text("0")),
    ("VCPUs_at_startup", Text("0")),
    ("actions_after_softreboot", Text("soft_reboot")),
    ("actions_after_shutdown", Text("destroy")),
    ("actions_after_reboot", Text("restart")),
    ("actions_after_crash", Text("restart")),
    ("consoles", Set),
    ("VIFs", Set),
    ("VBDs", Set),
    ("VUSBs", Set),
    ("crash_dumps", Set),
    ("VTPMs", Set),
    ("PV_bootloader", Text("")),
    ("PV_kernel", Text("")),
    ("PV_ramdisk", Text("")),
    ("PV_args", Text("")),
    ("PV_bootloader_args", Text("")),
    ("PV_legacy_args", Text("")),
    ("HVM_boot_policy", Text("")),
    ("HVM_boot_params", Map),
    ("HVM_shadow_multiplier", Double("1")),
    ("platform", Map),
    ("PCI_bus", Text("")),
    ("other_config", Map),
    ("domid", Text("-1")),
    ("domarch", Text("")),
    ("last_boot_CPU_flags", Map),
    ("is_control_domain", Flag(false)),
    ("metrics", Null),
    ("guest_metrics", Null),
    ("last_booted_record", Text("")),
    ("recommendations", Text("")),
    ("xenstore_data", Map),
    ("ha_always_run", Flag(false)),
    ("ha_restart_priority", Text("")),
    ("is_a_snapshot", Flag(false)),
    ("snapshot_of", Null),
    ("snapshots", Set),
    ("snapshot_time", Epoch),
    ("transportable_snapshot_id", Text("")),
    ("blobs", Map),
    ("tags", Set),
    ("blocked_operations", Map),
    ("snapshot_info", Map),
    ("snapshot_metadata", Text("")),
    ("parent", Null),
    ("children", Set),
    ("bios_strings", Map),
    ("protection_policy", Null),
    ("is_snapshot_from_vmpp", Flag(false)),
    ("snapshot_schedule", Null),
    ("is_vmss_snapshot", Flag(false)),
    ("appliance", Null),
    ("start_delay", Text("0")),
    ("shutdown_delay", Text("0")),
    ("order", Text("0")),
    ("VGPUs", Set),
    ("attached_PCIs", Set),
    ("suspend_SR", Null),
    ("version", Text("0")),
    ("generation_id", Text("0:0")),
    ("hardware_platform_version", Text("0")),
    ("has_vendor_device", Flag(true)),
    ("requires_reboot", Flag(false)),
    ("reference_label", Text("")),
    ("domain_type", Text("unspecified")),
    ("NVRAM", Map),
    ("pending_guidances", Set),
    ("pending_guidances_recommended", Set),
    ("pending_guidances_full", Set),
    ("groups", Set),
];

const VBD: Fields = &[
    ("uuid", Text("")),
    ("allowed_operations", Set),
    ("current_operations", Map),
    ("VM", Null),
    ("VDI", Null),
    ("device", Text("")),
    ("userdevice", Text("")),
    ("bootable", Flag(false)),
    ("mode", Text("RW")),
    ("type", Text("Disk")),
    ("unpluggable", Flag(true)),
    ("storage_lock", Flag(false)),
    ("empty", Flag(false)),
    ("other_config", Map),
    ("currently_attached", Flag(false)),
    ("status_code", Text("0")),
    ("status_detail", Text("")),
    ("runtime_properties", Map),
    ("qos_algorithm_type", Text("")),
    ("qos_algorithm_params", Map),
    ("qos_supported_algorithms", Set),
    ("metrics", Null),
];

const VIF: Fields = &[
    ("uuid", Text("")),
    ("allowed_operations", Set),
    ("current_operations", Map),
    ("device", Text("")),
    ("network", Null),
    ("VM", Null),
    ("MAC", Text("")),
    ("MTU", Text("0")),
    ("other_config", Map),
    ("currently_attached", Flag(false)),
    ("status_code", Text("0")),
    ("status_detail", Text("")),
    ("runtime_properties", Map),
    ("qos_algorithm_type", Text("")),
    ("qos_algorithm_params", Map),
    ("qos_supported_algorithms", Set),
    ("metrics", Null),
    ("MAC_autogenerated", Flag(false)),
    ("locking_mode", Text("network_default")),
    ("ipv4_allowed", Set),
    ("ipv6_allowed", Set),
    ("ipv4_configuration_mode", Text("None")),
    ("ipv4_addresses", Set),
    ("ipv4_gateway", Text("")),
    ("ipv6_configuration_mode", Text("None")),
    ("ipv6_addresses", Set),
    ("ipv6_gateway", Text("")),
];

const NETWORK: Fields = &[
    ("uuid", Text("")),
    ("name_label", Text("")),
    ("name_description", Text("")),
    ("allowed_operations", Set),
    ("current_operations", Map),
    ("VIFs", Set),
    ("PIFs", Set),
    ("MTU", Text("1500")),
    ("other_config", Map),
    ("bridge", Text("")),
    ("managed", Flag(true)),
    ("blobs", Map),
    ("tags", Set),
    ("default_locking_mode", Text("unlocked")),
    ("assigned_ips", Map),
    ("purpose", Set),
];

const VDI: Fields = &[
    ("uuid", Text("")),
    ("name_label", Text("")),
    ("name_description", Text("")),
    ("allowed_operations", Set),
    ("current_operations", Map),
    ("SR", Null),
    ("VBDs", Set),
    ("crash_dumps", Set),
    ("virtual_size", Text("0")),
    ("physical_utilisation", Text("0")),
    ("type", Text("user")),
    ("sharable", Flag(false)),
    ("read_only", Flag(false)),
    ("other_config", Map),
    ("storage_lock", Flag(false)),
    ("location", Text("")),
    ("managed", Flag(false)),
    ("missing", Flag(false)),
    ("parent", Null),
    ("xenstore_data", Map),
    ("sm_config", Map),
    ("is_a_snapshot", Flag(false)),
    ("snapshot_of", Null),
    ("snapshots", Set),
    ("snapshot_time", Epoch),
    ("tags", Set),
    ("allow_caching", Flag(false)),
    ("on_boot", Text("persist")),
    ("metadata_of_pool", Null),
    ("metadata_latest", Flag(false)),
    ("is_tools_iso", Flag(false)),
    ("cbt_enabled", Flag(false)),
];

const SR: Fields = &[
    ("uuid", Text("")),
    ("name_label", Text("")),
    ("name_description", Text("")),
    ("allowed_operations", Set),
    ("current_operations", Map),
    ("VDIs", Set),
    ("PBDs", Set),
    ("virtual_allocation", Text("0")),
    ("physical_utilisation", Text("0")),
    ("physical_size", Text("0")),
    ("type", Text("")),
    ("content_type", Text("")),
    ("shared", Flag(false)),
    ("other_config", Map),
    ("tags", Set),
    ("sm_config", Map),
    ("blobs", Map),
    ("local_cache_enabled", Flag(false)),
    ("introduced_by", Null),
    ("clustered", Flag(false)),
    ("is_tools_sr", Flag(false)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_gets_what_it_lacks_and_keeps_what_it_has() {
        let fields = Record(vec![("userdevice".to_owned(), Value::text("3"))]);
        let mut object = Object { class: "VBD".to_owned(), id: "Ref:1".to_owned(), fields };
        complete(&mut object);
        assert_eq!((object.fields.text("userdevice"), object.fields.text("mode")), ("3", "RW"));
        assert_eq!(object.fields.0.len(), VBD.len());
    }
}
