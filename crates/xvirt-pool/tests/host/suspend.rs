//! Saved states: what keeps them, and what is left of those that fail.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use serde_json::{Value, json};

use crate::needs_kvm;
use crate::support::{Place, Service, ticking};

fn start(service: &Service, vm: &Value) {
    service.ok("VM.start", [vm.clone(), json!(false), json!(false)]);
}

/// Locks an image as another program does that uses it, until the file is closed.
fn locked(path: &Path) -> File {
    let file = File::options().read(true).write(true).open(path).unwrap();
    // SAFETY: all zeroes is a valid lock.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (libc::F_WRLCK as libc::c_short, libc::SEEK_SET as libc::c_short);
    // SAFETY: the lock is a local variable.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }, 0);
    file
}

#[test]
fn a_resume_that_fails_leaves_the_saved_state() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    let sr = service.ok("SR.get_all", [])[0].clone();
    let vdi = service.ok("VDI.create", [json!({ "SR": sr, "virtual_size": 8 << 20 })]);
    service.ok("VBD.create", [json!({ "VM": vm, "VDI": vdi, "mode": "RW", "type": "Disk" })]);
    start(&service, &vm);
    service.console(&vm).expect("timer: tick 5\r");
    service.ok("VM.suspend", [vm.clone()]);

    let image = service.field("VDI", &vdi, "location");
    let backup = locked(image.as_str().unwrap().as_ref());
    let resume = [vm.clone(), json!(false), json!(false)];
    let failure = service.call("VM.resume", resume.clone()).unwrap_err();
    assert_eq!(service.power_state(&vm), "Suspended", "{failure}");
    drop(backup);
    service.ok("VM.resume", resume);
    let text = service.console(&vm).expect("timer: tick 40\r");
    assert_eq!(text.matches("timer: tick 1\r").count(), 1, "{text}");
    service.ok("VM.hard_shutdown", [vm]);
}

#[test]
fn a_saved_state_is_a_disk_of_its_repository_that_nobody_else_uses() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let (vm, other) = (service.create("web", &ticking()), service.create("other", &ticking()));
    let folder = place.folder.path().join("states");
    std::fs::create_dir(&folder).unwrap();
    let host = json!(service.0.reference().to_string());
    let config = json!({ "location": folder });
    let create =
        [host, config, json!(0), json!("states"), json!(""), json!("file"), json!("user"), json!(false), json!({})];
    let sr = service.ok("SR.create", create);
    service.ok("VM.set_suspend_SR", [vm.clone(), sr.clone()]);
    start(&service, &vm);
    service.ok("VM.suspend", [vm.clone()]);
    let vdi = service.field("VM", &vm, "suspend_VDI");
    assert_eq!(service.field("SR", &sr, "VDIs"), json!([vdi]));
    assert_eq!(service.code("SR.forget", [sr.clone()]), "SR_NOT_EMPTY");
    assert_eq!(service.code("VDI.destroy", [vdi.clone()]), "VDI_IN_USE");
    assert_eq!(service.code("VDI.resize", [vdi.clone(), json!(1_u64 << 40)]), "VDI_IN_USE");
    let vbd = json!({ "VM": other, "VDI": vdi, "mode": "RO", "type": "Disk" });
    assert_eq!(service.code("VBD.create", [vbd]), "VDI_IN_USE");
    service.ok("VM.resume", [vm.clone(), json!(false), json!(false)]);
    assert_eq!(service.field("SR", &sr, "VDIs"), json!([]));
    assert_eq!(service.ok("VDI.get_all", []), json!([]));
    service.ok("VM.hard_shutdown", [vm]);
    service.ok("SR.forget", [sr]);
}

#[test]
fn a_suspend_that_fails_leaves_nothing() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    start(&service, &vm);
    let (disks, away) = (place.state().join("disks"), place.state().join("away"));
    std::fs::rename(&disks, &away).unwrap();
    assert_eq!(service.code("VM.suspend", [vm.clone()]), "INTERNAL_ERROR");
    assert_eq!(service.power_state(&vm), "Running");
    assert_eq!(service.field("VM", &vm, "suspend_VDI"), "OpaqueRef:NULL");
    assert_eq!(service.ok("VDI.get_all", []), json!([]));
    std::fs::rename(&away, &disks).unwrap();
    service.console(&vm).tick();
    service.ok("VM.suspend", [vm.clone()]);
    assert_eq!(service.power_state(&vm), "Suspended");
    service.ok("VM.hard_shutdown", [vm]);
    assert_eq!(std::fs::read_dir(&disks).unwrap().count(), 0);
}
