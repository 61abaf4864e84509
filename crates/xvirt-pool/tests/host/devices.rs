//! Disks and network interfaces.

use serde_json::{Value, json};
use xvirt_core::demo::{CommandLine, Mode};

use crate::needs_kvm;
use crate::support::{Place, Service};

const SIZE: u64 = 8 << 20;

fn repository(service: &Service) -> Value {
    service.ok("SR.get_all", [])[0].clone()
}

pub fn disk(service: &Service, format: &str) -> Value {
    let record = json!({ "name_label": "disk", "SR": repository(service), "virtual_size": SIZE, "sm_config": { "image-format": format } });
    service.ok("VDI.create", [record])
}

pub fn attach(service: &Service, vm: &Value, vdi: &Value) -> Value {
    let record =
        json!({ "VM": vm, "VDI": vdi, "userdevice": "autodetect", "mode": "RW", "type": "Disk", "empty": false });
    service.ok("VBD.create", [record])
}

pub fn start(service: &Service, vm: &Value) {
    service.ok("VM.start", [vm.clone(), json!(false), json!(false)]);
}

#[test]
fn a_disk_keeps_what_the_guest_wrote_and_a_clone_has_its_own() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let writes = CommandLine::new([Mode::Blk, Mode::PowerOff]).seed(7).blocks(16).pattern_by_index();
    let vm = service.create("writes", &writes);
    for format in ["raw", "qcow2"] {
        attach(&service, &vm, &disk(&service, format));
    }
    start(&service, &vm);
    service.wait("VM", &vm, "power_state", "Halted");

    let clone = service.ok("VM.clone", [vm.clone(), json!("reads")]);
    assert_eq!(service.ok("VDI.get_all", []).as_array().unwrap().len(), 4);
    let again = service.ok("VM.clone", [clone.clone(), json!("again")]);
    // The original writes something else; the copies have what was there.
    service.ok(
        "VM.set_PV_args",
        [
            vm.clone(),
            json!(CommandLine::new([Mode::Blk, Mode::PowerOff]).seed(8).blocks(16).pattern_by_index().to_string()),
        ],
    );
    start(&service, &vm);
    service.wait("VM", &vm, "power_state", "Halted");
    let reads = CommandLine::new([Mode::BlkVerify, Mode::Echo]).seed(7).blocks(16).pattern_by_index().to_string();
    for copy in [&clone, &again] {
        service.ok("VM.set_PV_args", [copy.clone(), json!(reads)]);
        start(&service, copy);
        let text = service.console(copy).expect("echo: ready");
        assert_eq!(text.matches("verified blocks=16").count(), 2, "{text}");
        service.ok("VM.hard_shutdown", [copy.clone()]);
    }
    for vm in [vm, clone, again] {
        service.ok("VM.destroy", [vm]);
    }
    for vdi in service.ok("VDI.get_all", []).as_array().unwrap() {
        service.ok("VDI.destroy", [vdi.clone()]);
    }
    assert_eq!(std::fs::read_dir(place.state().join("disks")).unwrap().count(), 0, "an image is left");
    assert_eq!(service.field("SR", &repository(&service), "virtual_allocation"), 0);
}

#[test]
fn a_disk_is_plugged_grown_and_unplugged_while_the_guest_runs() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("plugs", &CommandLine::new([Mode::HotPlug]));
    start(&service, &vm);
    let vdi = disk(&service, "raw");
    let vbd = attach(&service, &vm, &vdi);
    service.ok("VBD.plug", [vbd.clone()]);
    assert_eq!(service.field("VBD", &vbd, "currently_attached"), true);
    assert_eq!(service.code("VBD.plug", [vbd.clone()]), "DEVICE_ALREADY_ATTACHED");
    assert_eq!(service.code("VDI.destroy", [vdi.clone()]), "VDI_IN_USE");
    service.ok("VDI.resize", [vdi.clone(), json!(2 * SIZE)]);
    assert_eq!(service.field("VDI", &vdi, "virtual_size"), 2 * SIZE);
    service.ok("VBD.set_qos_algorithm_type", [vbd.clone(), json!("ratelimit")]);
    service.ok("VBD.add_to_qos_algorithm_params", [vbd.clone(), json!("operations_per_second"), json!("100")]);
    assert_eq!(
        service.code("VBD.add_to_qos_algorithm_params", [vbd.clone(), json!("operations_burst"), json!("many")]),
        "INVALID_VALUE"
    );
    // A service that comes later knows where the disk is.
    drop(service);
    let service = place.open();
    assert_eq!(service.field("VBD", &vbd, "currently_attached"), true);
    service.ok("VBD.unplug", [vbd.clone()]);
    assert_eq!(service.field("VBD", &vbd, "currently_attached"), false);
    service.ok("VBD.destroy", [vbd]);
    service.ok("VDI.destroy", [vdi]);
    service.ok("VM.hard_shutdown", [vm]);
}

#[test]
fn what_cannot_be_is_refused_with_xenapis_codes() {
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &CommandLine::new([Mode::Hello]));
    let none = json!("OpaqueRef:00000000-0000-0000-0000-000000000001");
    assert_eq!(service.code("VM.nonsense", [vm.clone()]), "MESSAGE_METHOD_UNKNOWN");
    assert_eq!(service.code("Nonsense.get_all", []), "MESSAGE_METHOD_UNKNOWN");
    assert_eq!(service.code("VM.start", [vm.clone()]), "MESSAGE_PARAMETER_COUNT_MISMATCH");
    assert_eq!(service.code("VM.get_record", [none.clone()]), "HANDLE_INVALID");
    assert_eq!(service.code("VM.get_record", [json!(7)]), "FIELD_TYPE_ERROR");
    assert_eq!(service.code("VM.get_by_uuid", [json!("x")]), "UUID_INVALID");
    assert_eq!(service.code("VM.start", [vm.clone(), json!({}), json!(false)]), "FIELD_TYPE_ERROR");
    assert_eq!(service.code("VM.migrate_send", [vm.clone()]), "NOT_IMPLEMENTED");
    assert_eq!(service.code("VM.create", [json!({ "PCI_bus": "1" })]), "VALUE_NOT_SUPPORTED");
    assert_eq!(service.code("VM.create", [json!({ "PV_kernel": "../demo" })]), "INVALID_VALUE");
    assert_eq!(service.code("network.create", [json!({ "name_label": "lan" })]), "VALUE_NOT_SUPPORTED");
    assert_eq!(service.ok("VM.get_by_name_label", [json!("web")]), json!([vm]));
    assert_eq!(service.ok("VMPP.get_all", []), json!([]));
    // A start that fails leaves nothing behind.
    service.ok("VM.set_PV_kernel", [vm.clone(), json!("absent")]);
    assert_eq!(service.code("VM.start", [vm.clone(), json!(false), json!(false)]), "INTERNAL_ERROR");
    assert_eq!(service.field("VM", &vm, "current_operations"), json!({}));
    assert_eq!(service.power_state(&vm), "Halted");
    place.require_no_workers();
}
