//! The life of a VM, through several services.

use serde_json::{Value, json};

use xvirt_core::demo::{CommandLine, Mode};

use crate::needs_kvm;
use crate::support::{Place, record, ticking, workers_of};

#[test]
fn a_vm_runs_on_while_its_service_is_away() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    assert_eq!(service.power_state(&vm), "Halted");
    assert_eq!(service.ok("VM.start", [vm.clone(), json!(false), json!(false)]), Value::Null);
    assert_eq!(service.power_state(&vm), "Running");
    assert_eq!(service.field("VM", &vm, "resident_on"), service.0.reference().to_string());
    let mut console = service.console(&vm);
    let before = console.tick();
    drop(service);
    // The console goes on as well.
    assert_eq!(console.tick(), before + 1);

    let service = place.open();
    assert_eq!(service.power_state(&vm), "Running");
    let text = service.console(&vm).expect(&format!("timer: tick {}\r", before + 20));
    assert_eq!(text.matches("timer: tick 1\r").count(), 1, "the guest was reset: {text}");
    assert_eq!(service.code("VM.start", [vm.clone(), json!(false), json!(false)]), "VM_BAD_POWER_STATE");
    assert_eq!(service.code("VM.destroy", [vm.clone()]), "VM_BAD_POWER_STATE");
    assert_eq!(workers_of(&place.run()).len(), 1);

    service.ok("VM.hard_shutdown", [vm.clone()]);
    assert_eq!(service.power_state(&vm), "Halted");
    assert_eq!(service.field("VM", &vm, "consoles"), json!([]));
    service.ok("VM.destroy", [vm.clone()]);
    assert_eq!(service.code("VM.get_record", [vm]), "HANDLE_INVALID");
    assert_eq!(service.ok("VM.get_all", []), json!([]));
    assert!(workers_of(&place.run()).is_empty());
    place.require_no_workers();
}

#[test]
fn the_balloon_of_a_running_vm_follows_its_dynamic_memory() {
    const MIB: u64 = 1 << 20;
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let mut ballooned = record("balloon", &CommandLine::new([Mode::Balloon]));
    ballooned["memory_static_min"] = json!(32 * MIB);
    ballooned["memory_dynamic_min"] = json!(32 * MIB);
    let vm = service.ok("VM.create", [ballooned]);
    service.ok("VM.start", [vm.clone(), json!(false), json!(false)]);
    let mut console = service.console(&vm);
    console.expect("balloon: touched=4096");
    service.ok("VM.set_memory_dynamic_range", [vm.clone(), json!(32 * MIB), json!(52 * MIB)]);
    console.expect("balloon: pages=3072");
    assert_eq!(service.field("VM", &vm, "memory_target"), 52 * MIB);
    let too_little = service.code("VM.set_memory_dynamic_max", [vm.clone(), json!(MIB)]);
    assert_eq!(too_little, "MEMORY_CONSTRAINT_VIOLATION");
    service.ok("VM.set_memory_dynamic_max", [vm.clone(), json!(64 * MIB)]);
    console.expect("balloon: pages=0");
    service.ok("VM.hard_shutdown", [vm]);

    // Its range says that its memory never changes, so it has no balloon.
    let fixed = service.create("fixed", &ticking());
    service.ok("VM.start", [fixed.clone(), json!(false), json!(false)]);
    service.ok("VM.set_memory_dynamic_range", [fixed.clone(), json!(64 * MIB), json!(64 * MIB)]);
    service.ok("VM.hard_shutdown", [fixed]);
}
