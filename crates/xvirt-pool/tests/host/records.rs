//! What records may say, and what they no longer say.

use std::fs;

use serde_json::{Value, json};
use xvirt_core::disk as image;
use xvirt_core::disk::ImageFormat;

use crate::devices::{attach, disk};
use crate::support::{Place, Service, ticking};

const NONE: &str = "OpaqueRef:00000000-0000-0000-0000-000000000001";

fn images(place: &Place) -> usize {
    fs::read_dir(place.state().join("disks")).unwrap().count()
}

fn location(service: &Service, vdi: &Value) -> String {
    service.field("VDI", vdi, "location").as_str().unwrap().to_owned()
}

#[test]
fn what_only_the_service_sets_is_not_taken_from_a_client() {
    let place = Place::new();
    let service = place.open();
    let sr = service.ok("SR.get_all", [])[0].clone();
    let vdi = service.ok(
        "VDI.create",
        [json!({ "SR": sr, "virtual_size": 8 << 20, "missing": true, "is_a_snapshot": true, "snapshot_of": NONE,
            "physical_utilisation": 7, "current_operations": { NONE: "copy" }, "sm_config": { "image-format": "qcow2" } })],
    );
    let record = service.ok("VDI.get_record", [vdi.clone()]);
    for (field, expected) in [
        ("missing", json!(false)),
        ("is_a_snapshot", json!(false)),
        ("snapshot_of", json!("OpaqueRef:NULL")),
        ("physical_utilisation", json!(0)),
        ("current_operations", json!({})),
    ] {
        assert_eq!(record[field], expected, "{field}");
    }
    assert_eq!(image::inspect(location(&service, &vdi), None).unwrap().format, ImageFormat::Qcow2);
    let vhd = json!({ "SR": sr, "virtual_size": 8 << 20, "sm_config": { "image-format": "vhd" } });
    assert_eq!(service.code("VDI.create", [vhd]), "VALUE_NOT_SUPPORTED");
}

#[test]
fn setters_refuse_what_cannot_be() {
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    let (first, second) =
        (attach(&service, &vm, &disk(&service, "raw")), attach(&service, &vm, &disk(&service, "raw")));
    let set = |field: &str, value: &str| service.call(&format!("VBD.set_{field}"), [second.clone(), json!(value)]);
    assert_eq!(set("userdevice", "0").unwrap_err().code, "DEVICE_ALREADY_EXISTS");
    assert_eq!(set("userdevice", "first").unwrap_err().code, "INVALID_VALUE");
    set("userdevice", "3").unwrap();
    assert_eq!(service.field("VBD", &second, "device"), "vdd");
    assert_eq!(set("type", "CD").unwrap_err().code, "VBD_CDS_MUST_BE_READONLY");
    set("mode", "RO").unwrap();
    set("type", "CD").unwrap();
    assert_eq!(set("mode", "RW").unwrap_err().code, "VBD_CDS_MUST_BE_READONLY");
    assert_eq!(service.field("VBD", &first, "userdevice"), "0");

    let network = service.ok("network.create", [json!({ "bridge": "xvbr0" })]);
    assert_eq!(service.code("network.set_MTU", [network.clone(), json!(67)]), "INVALID_VALUE");
    service.ok("network.set_MTU", [network, json!(9000)]);
    let pool = service.ok("pool.get_all", [])[0].clone();
    for (object, field) in [
        (&pool, "pool.set_default_SR"),
        (&pool, "pool.set_suspend_image_SR"),
        (&vm, "VM.set_suspend_SR"),
        (&vm, "VM.set_affinity"),
    ] {
        assert_eq!(service.code(field, [object.clone(), json!(NONE)]), "HANDLE_INVALID", "{field}");
    }
    let mut wish = crate::support::record("elsewhere", &ticking());
    wish["affinity"] = json!(NONE);
    assert_eq!(service.code("VM.create", [wish]), "HANDLE_INVALID");
}

#[test]
fn a_folder_is_that_of_one_repository() {
    let place = Place::new();
    let service = place.open();
    let pool = service.ok("pool.get_all", [])[0].clone();
    let create = |folder: &std::path::Path| {
        let config = json!({ "location": folder });
        let rest = [json!(0), json!("second"), json!(""), json!("file"), json!("user"), json!(false), json!({})];
        let parameters: Vec<Value> =
            [json!(service.0.reference().to_string()), config].into_iter().chain(rest).collect();
        service.call("SR.create", parameters)
    };
    assert_eq!(create(&place.state().join("disks")).unwrap_err().code, "SR_DEVICE_IN_USE");
    let sr = create(&place.folder.path().join("second")).unwrap();
    assert!(service.field("SR", &sr, "physical_size").as_i64().unwrap() > 0);
    assert_eq!(create(&place.state().join("../second")).unwrap_err().code, "SR_DEVICE_IN_USE");
    service.ok("pool.set_suspend_image_SR", [pool.clone(), sr.clone()]);
    assert_eq!(service.code("SR.forget", [sr.clone()]), "OPERATION_NOT_ALLOWED");
    // A pool without a default repository gets no other one over the same folder.
    service.ok("pool.set_default_SR", [pool, json!("OpaqueRef:NULL")]);
    drop(service);
    let service = place.open();
    assert_eq!(service.ok("SR.get_all", []).as_array().unwrap().len(), 2);
}

#[test]
fn a_vm_with_all_devices_is_destroyed() {
    let place = Place::new();
    let service = place.open();
    let vm = service.create("large", &ticking());
    for number in 0..27 {
        attach(&service, &vm, &disk(&service, "raw"));
        let network = service.ok("network.create", [json!({ "bridge": format!("xvbr{number}") })]);
        service.ok("VIF.create", [json!({ "VM": vm, "network": network, "device": number.to_string() })]);
    }
    service.ok("VM.destroy", [vm.clone()]);
    assert_eq!(service.code("VM.get_record", [vm]), "HANDLE_INVALID");
    assert_eq!((service.ok("VBD.get_all", []), service.ok("VIF.get_all", [])), (json!([]), json!([])));
    for network in service.ok("network.get_all", []).as_array().unwrap() {
        service.ok("network.destroy", [network.clone()]);
    }
    for vdi in service.ok("VDI.get_all", []).as_array().unwrap() {
        service.ok("VDI.destroy", [vdi.clone()]);
    }
    assert_eq!(images(&place), 0);
}

#[test]
fn an_image_that_cannot_be_removed_is_removed_by_the_next_service() {
    let place = Place::new();
    let service = place.open();
    let vdi = disk(&service, "raw");
    let image = location(&service, &vdi);
    fs::remove_file(&image).unwrap();
    fs::create_dir(&image).unwrap();
    service.ok("VDI.destroy", [vdi.clone()]);
    assert_eq!(service.code("VDI.get_record", [vdi]), "HANDLE_INVALID");
    drop(service);
    fs::remove_dir(&image).unwrap();
    fs::write(&image, "left").unwrap();
    drop(place.open());
    assert_eq!(images(&place), 0);
}

#[test]
fn a_disk_has_the_size_of_its_image_whatever_came_of_growing_it() {
    let place = Place::new();
    let service = place.open();
    let vdi = disk(&service, "qcow2");
    image::grow(location(&service, &vdi), Some(ImageFormat::Qcow2), 32 << 20).unwrap();
    service.call("VDI.resize", [vdi.clone(), json!(16 << 20)]).unwrap_err();
    assert_eq!(service.field("VDI", &vdi, "virtual_size"), 32 << 20);
    let sr = service.field("VDI", &vdi, "SR");
    assert_eq!(service.field("SR", &sr, "virtual_allocation"), 32 << 20);
    service.ok("VDI.resize", [vdi.clone(), json!(64 << 20)]);
    assert_eq!(service.field("SR", &sr, "virtual_allocation"), 64 << 20);
}
