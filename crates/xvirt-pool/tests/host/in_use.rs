//! Disks that are in use: by VMs that are being started, run, or are suspended.

use serde_json::{Value, json};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_worker::Connection;
use xvirt_worker::protocol::Request;

use crate::devices::{attach, disk, start};
use crate::needs_kvm;
use crate::support::{Place, Service, ticking};

fn attached(service: &Service, vbd: &Value) -> bool {
    service.field("VBD", vbd, "currently_attached") == true
}

#[test]
fn a_disk_is_not_destroyed_while_its_vm_starts() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("starts", &ticking());
    let vdi = disk(&service, "raw");
    let vbd = attach(&service, &vm, &vdi);
    let task = service.ok("Async.VM.start", [vm.clone(), json!(false), json!(false)]);
    while service.field("VM", &vm, "current_operations") == json!({}) && service.power_state(&vm) == "Halted" {
        std::thread::yield_now();
    }
    while service.ok("task.get_status", [task.clone()]) == "pending" {
        assert_eq!(service.code("VDI.destroy", [vdi.clone()]), "VDI_IN_USE");
        assert_eq!(service.code("VBD.destroy", [vbd.clone()]), "OPERATION_NOT_ALLOWED");
        assert_eq!(service.code("VBD.set_mode", [vbd.clone(), json!("RO")]), "OPERATION_NOT_ALLOWED");
        assert_eq!(service.code("VBD.set_userdevice", [vbd.clone(), json!("3")]), "OPERATION_NOT_ALLOWED");
    }
    assert_eq!(service.wait_task(&task)["status"], "success");
    assert!(attached(&service, &vbd));
}

#[test]
fn an_old_event_means_nothing_to_the_disk_that_has_the_position_now() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("plugs", &CommandLine::new([Mode::HotPlug]));
    start(&service, &vm);
    let [first, second] = [(); 2].map(|()| disk(&service, "raw"));
    let vbd = attach(&service, &vm, &first);
    service.ok("VBD.plug", [vbd.clone()]);
    service.ok("VBD.unplug", [vbd.clone()]);
    let vbd = attach(&service, &vm, &second);
    service.ok("VBD.plug", [vbd.clone()]);
    drop(service);

    // The next service reads the events again: that of the first disk, too.
    let service = place.open();
    let uuid = service.field("VM", &vm, "uuid");
    let socket = place.run().join("workers").join(uuid.as_str().unwrap()).join("socket");
    Connection::open(socket).unwrap().call(&Request::Pause, &[]).unwrap();
    service.wait("VM", &vm, "power_state", "Paused");
    assert!(attached(&service, &vbd));
    assert_eq!(service.code("VDI.destroy", [second.clone()]), "VDI_IN_USE");
    service.ok("VM.unpause", [vm.clone()]);
    service.ok("VBD.unplug", [vbd.clone()]);
    assert!(!attached(&service, &vbd));
    service.ok("VDI.destroy", [second]);
    service.ok("VDI.destroy", [first]);
}

#[test]
fn a_disk_of_a_suspended_vm_is_written_by_nobody_else() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let (one, two) = (service.create("one", &ticking()), service.create("two", &ticking()));
    let vdi = disk(&service, "raw");
    attach(&service, &one, &vdi);
    start(&service, &two);
    let other = attach(&service, &two, &vdi);
    start(&service, &one);
    service.ok("VM.suspend", [one.clone()]);
    for sharable in [false, true] {
        service.ok("VDI.set_sharable", [vdi.clone(), json!(sharable)]);
        assert_eq!(service.code("VBD.plug", [other.clone()]), "VDI_IN_USE");
    }
    assert_eq!(service.field("VBD", &other, "current_operations"), json!({}));
    assert_eq!(service.code("VDI.resize", [vdi.clone(), json!(16 << 20)]), "VDI_IN_USE");
    service.ok("VM.hard_shutdown", [two.clone()]);
    assert_eq!(service.code("VM.start", [two.clone(), json!(false), json!(false)]), "VDI_IN_USE");
    service.ok("VM.resume", [one.clone(), json!(false), json!(false)]);
    service.ok("VDI.resize", [vdi.clone(), json!(16 << 20)]);
    assert_eq!(service.field("VDI", &vdi, "virtual_size"), 16 << 20);
    service.ok("VM.hard_shutdown", [one]);
    start(&service, &two);
}

#[test]
fn a_disk_that_was_made_while_its_vm_was_suspended_is_not_in_it() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("resumes", &CommandLine::new([Mode::HotPlug]));
    let before = attach(&service, &vm, &disk(&service, "raw"));
    start(&service, &vm);
    service.ok("VM.suspend", [vm.clone()]);
    let since = attach(&service, &vm, &disk(&service, "raw"));
    service.ok("VM.resume", [vm.clone(), json!(false), json!(false)]);
    assert!(attached(&service, &before) && !attached(&service, &since));
    assert_eq!(service.code("VBD.unplug", [since.clone()]), "DEVICE_ALREADY_DETACHED");
    service.ok("VBD.plug", [since.clone()]);
    assert!(attached(&service, &since));
}
