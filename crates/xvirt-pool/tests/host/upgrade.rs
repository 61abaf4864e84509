//! Moving running VMs to new workers.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_pool::Host;
use xvirt_pool::operation::Verbs;

use crate::devices::{attach, disk, start};
use crate::needs_kvm;
use crate::support::{Place, Service, ticking, workers_of};

fn upgrade(service: &Service, vm: &Value) -> f64 {
    service.ok("VM.xvirt_upgrade_worker", [vm.clone()]).as_f64().unwrap()
}

/// The folder of a VM's worker.
pub fn folder(place: &Place, vm: &Value) -> PathBuf {
    place.run().join("workers").join(vm.as_str().unwrap().strip_prefix("OpaqueRef:").unwrap())
}

/// One worker has the VM, and nothing is left of another one.
pub fn require_one_worker(place: &Place, vm: &Value) {
    // A task has ended before the last file is removed.
    let files = || {
        let files = fs::read_dir(folder(place, vm)).unwrap().map(|file| file.unwrap().file_name().into_string());
        files.collect::<Result<std::collections::BTreeSet<_>, _>>().unwrap()
    };
    let expected = ["exit", "process", "socket"].map(str::to_owned).into();
    assert_eq!(xvirt_testing::process::comes_to(&expected, crate::support::PATIENCE, files), Ok(()));
    // The old one serves its last connections.
    let ended = xvirt_testing::process::comes_to(&1, crate::support::PATIENCE, || workers_of(&place.run()).len());
    assert_eq!(ended, Ok(()));
}

/// The guest counts on from a number, without having begun again.
pub fn require_counting(service: &Service, vm: &Value, from: u64) -> u64 {
    assert_eq!(service.power_state(vm), "Running");
    let text = service.console(vm).expect(&format!("timer: tick {}\r", from + 5));
    assert_eq!(text.matches("timer: tick 1\r").count(), 1, "the guest was reset: {text}");
    from + 5
}

/// A bridge of this host, until it is dropped.
struct Bridge(String);

impl Bridge {
    fn create() -> Option<Self> {
        let name = format!("xvup{}", std::process::id());
        let made = Command::new("ip").args(["link", "add", "name", &name, "type", "bridge"]).output();
        match made {
            Ok(made) if made.status.success() => Some(Self(name)),
            other => {
                println!("without network interfaces: {other:?}");
                None
            }
        }
    }

    fn taps(&self) -> Vec<PathBuf> {
        let ports = fs::read_dir(format!("/sys/class/net/{}/brif", self.0)).unwrap();
        ports.map(|port| port.unwrap().path()).collect()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", &self.0]).status();
    }
}

#[test]
fn a_guest_counts_on_in_a_new_worker_with_its_devices() {
    needs_kvm!();
    let place = Place::new();
    let mut service = place.open();
    let vm = service.create("web", &ticking());
    for format in ["raw", "qcow2"] {
        attach(&service, &vm, &disk(&service, format));
    }
    let bridge = Bridge::create();
    if let Some(bridge) = &bridge {
        let network = service.ok("network.create", [json!({ "name_label": "lan", "bridge": bridge.0, "MTU": 0 })]);
        service.ok("VIF.create", [json!({ "VM": vm, "network": network, "device": "0", "MTU": 0 })]);
    }
    assert_eq!(service.field("VM", &vm, "xvirt_worker_version"), "");
    start(&service, &vm);
    let version = service.field("VM", &vm, "xvirt_worker_version");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let taps = || bridge.as_ref().map_or_else(Vec::new, Bridge::taps);
    let (tap, mut old) = (taps(), workers_of(&place.run()));
    assert_eq!((tap.len(), old.len()), (usize::from(bridge.is_some()), 1));
    let mut tick = service.console(&vm).tick();
    let descriptors = xvirt_testing::process::Taken::now().descriptors;
    for round in 0..4 {
        let stopped = upgrade(&service, &vm);
        println!("stopped for {:.1} ms", stopped * 1000.0);
        assert!(stopped > 0.0);
        require_one_worker(&place, &vm);
        let new = workers_of(&place.run());
        assert_ne!(new, old);
        (tick, old) = (require_counting(&service, &vm, tick), new);
        assert_eq!(taps(), tap);
        for (class, field) in [("VBD", "VBDs"), ("VIF", "VIFs")] {
            for device in service.field("VM", &vm, field).as_array().unwrap() {
                assert_eq!(service.field(class, device, "currently_attached"), true);
            }
        }
        assert_eq!(service.field("VM", &vm, "current_operations"), json!({}));
        assert_eq!((service.messages(&vm), service.field("VM", &vm, "domid")), (vec![], json!(1)));
        if round == 1 {
            drop(service);
            service = place.open();
            tick = require_counting(&service, &vm, tick);
        }
    }
    let now = xvirt_testing::process::Taken::now().descriptors;
    assert!(now <= descriptors + 4, "{now} descriptors are open, and {descriptors} were before");
    // What ends the VM is found in the new worker.
    let mut console = service.console(&vm);
    console.stream.write_all(b"poweroff\n").unwrap();
    service.wait("VM", &vm, "power_state", "Halted");
    assert_eq!((service.messages(&vm), service.field("VM", &vm, "xvirt_worker_version")), (vec![], json!("")));
    assert_eq!((taps(), workers_of(&place.run())), (vec![], vec![]));
    place.require_no_workers();
}

#[test]
fn a_disk_is_plugged_into_the_new_worker_and_known_to_later_services() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("plugs", &CommandLine::new([Mode::HotPlug]));
    start(&service, &vm);
    let first = attach(&service, &vm, &disk(&service, "raw"));
    service.ok("VBD.plug", [first.clone()]);
    upgrade(&service, &vm);
    let second = attach(&service, &vm, &disk(&service, "qcow2"));
    service.ok("VBD.plug", [second.clone()]);
    upgrade(&service, &vm);
    drop(service);
    let service = place.open();
    for vbd in [first, second] {
        assert_eq!(service.field("VBD", &vbd, "currently_attached"), true);
        service.ok("VBD.unplug", [vbd.clone()]);
        assert_eq!(service.field("VBD", &vbd, "currently_attached"), false);
    }
    upgrade(&service, &vm);
    require_one_worker(&place, &vm);
    // What a guest is told and what it tells goes through the new worker.
    service.ok("VM.pause", [vm.clone()]);
    assert_eq!(service.code("VM.xvirt_upgrade_worker", [vm.clone()]), "VM_BAD_POWER_STATE");
    service.ok("VM.unpause", [vm.clone()]);
    service.ok("VM.suspend", [vm.clone()]);
    assert_eq!(service.code("VM.xvirt_upgrade_worker", [vm.clone()]), "VM_BAD_POWER_STATE");
    service.ok("VM.resume", [vm.clone(), json!(false), json!(false)]);
    upgrade(&service, &vm);
    service.ok("VM.hard_shutdown", [vm.clone()]);
    assert_eq!(service.code("VM.xvirt_upgrade_worker", [vm]), "VM_BAD_POWER_STATE");
}

/// A program that is run instead of the worker.
fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_program_that_is_no_worker_leaves_the_vm_where_it_is() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    attach(&service, &vm, &disk(&service, "qcow2"));
    start(&service, &vm);
    let (mut tick, worker) = (service.console(&vm).tick(), workers_of(&place.run()));
    drop(service);
    let own = place.folder.path();
    let number = own.join("number");
    let stranger = format!(
        "XVIRT_TEST_STRANGER={} {} --exact stranger::speaks_another_version 3<&3 4>&4 >/dev/null 2>&1 &\n\
         while [ ! -s {} ]; do :; done",
        number.display(),
        std::env::current_exe().unwrap().display(),
        number.display(),
    );
    for (program, text) in [
        (PathBuf::from("/bin/false"), "could not begin"),
        (PathBuf::from("/bin/true"), "has ended at once"),
        (own.join("absent"), "No such file"),
        (script(own, &stranger), "no version of the protocol in common"),
    ] {
        let service = Service(Host::open(place.options().worker(&program)).unwrap());
        let failure = service.call("VM.xvirt_upgrade_worker", [vm.clone()]).unwrap_err();
        println!("{failure}");
        assert!(failure.parameters[0].starts_with("the VM stays in its old worker: "), "{failure}");
        assert!(failure.parameters[0].contains(text), "{failure}");
        assert_eq!(service.field("VM", &vm, "current_operations"), json!({}));
        require_one_worker(&place, &vm);
        assert_eq!(workers_of(&place.run()), worker);
        tick = require_counting(&service, &vm, tick);
        assert_eq!(service.messages(&vm), []);
    }
    let number = fs::read_to_string(number).unwrap();
    let is_over = || !Path::new("/proc").join(&number).exists();
    let ended = xvirt_testing::process::comes_to(&true, crate::support::PATIENCE, is_over);
    assert_eq!(ended, Ok(()), "the process {number} is left");
    let service = place.open();
    upgrade(&service, &vm);
    require_counting(&service, &vm, tick);
}

#[test]
fn one_of_two_upgrades_at_once_is_refused() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    start(&service, &vm);
    let tick = service.console(&vm).tick();
    for _ in 0..5 {
        let tasks: Vec<_> = (0..3).map(|_| service.ok("Async.VM.xvirt_upgrade_worker", [vm.clone()])).collect();
        let ended: Vec<_> = tasks.iter().map(|task| service.wait_task(task)).collect();
        let done = ended.iter().filter(|task| task["status"] == "success").count();
        let busy = ended.iter().filter(|task| task["error_info"][0] == "OTHER_OPERATION_IN_PROGRESS").count();
        assert!(done >= 1 && done + busy == 3, "{ended:?}");
        require_one_worker(&place, &vm);
    }
    require_counting(&service, &vm, tick);
    assert_eq!(service.messages(&vm), []);
}

#[test]
fn power_is_cut_while_a_worker_is_replaced() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    for round in 0..12_u32 {
        start(&service, &vm);
        let mut console = service.console(&vm);
        console.tick();
        let task = service.ok("Async.VM.xvirt_upgrade_worker", [vm.clone()]);
        (0..round * 500_000).for_each(|_| std::hint::spin_loop());
        if round % 3 == 2 {
            // The guest does it by itself.
            let _ = console.stream.write_all(b"poweroff\n");
            if let Ok(console) = service.0.console(&crate::support::me(), vm.as_str().unwrap()) {
                let _ = (&console).write_all(b"poweroff\n");
            }
            let task = service.wait_task(&task);
            println!("{} {}", task["status"], task["error_info"]);
            // It may not have heard of it in either.
            let _ = service.call("VM.hard_shutdown", [vm.clone()]);
        } else {
            service.ok("VM.hard_shutdown", [vm.clone()]);
            let task = service.wait_task(&task);
            println!("{} {}", task["status"], task["error_info"]);
        }
        service.wait("VM", &vm, "power_state", "Halted");
        service.wait("VM", &vm, "current_operations", json!({}));
        let ended = xvirt_testing::process::comes_to(&0, crate::support::PATIENCE, || workers_of(&place.run()).len());
        assert_eq!(ended, Ok(()));
        place.require_no_workers();
        assert_eq!(service.messages(&vm), []);
    }
}

#[test]
fn an_upgrade_that_is_cancelled_in_time_leaves_the_vm_where_it_is() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    start(&service, &vm);
    let (tick, worker) = (service.console(&vm).tick(), workers_of(&place.run()));
    drop(service);
    // It begins once it is let.
    let gate = place.folder.path().join("gate");
    let program = xvirt_testing::worker::worker_program();
    let wait = format!("while [ ! -e {} ]; do :; done\nexec {} \"$@\"", gate.display(), program.display());
    let options = place.options().worker(script(place.folder.path(), &wait));
    let service = Service(Host::open(options).unwrap());
    let task = service.ok("Async.VM.xvirt_upgrade_worker", [vm.clone()]);
    service.wait("VM", &vm, "current_operations", json!({ task.as_str().unwrap(): "pool_migrate" }));
    assert_eq!(service.code("VM.pause", [vm.clone()]), "OTHER_OPERATION_IN_PROGRESS");
    let vbd = attach(&service, &vm, &disk(&service, "raw"));
    assert_eq!(service.code("VBD.plug", [vbd]), "OTHER_OPERATION_IN_PROGRESS");
    service.ok("task.cancel", [task.clone()]);
    fs::write(gate, "").unwrap();
    assert_eq!(service.wait_task(&task)["status"], "cancelled");
    require_one_worker(&place, &vm);
    assert_eq!(workers_of(&place.run()), worker);
    require_counting(&service, &vm, tick);
}
