//! What follows from the life of a VM.

use std::sync::Arc;

use super::*;
use crate::clock::SystemHostClock;
use crate::model::{HostMetrics, StorageOperations, VbdOperations, VdiOperations, VifOperations};
use crate::objects::Objects;
use crate::store::{ManualClock, SimulatedStore};

fn objects() -> Objects {
    let store = Arc::new(SimulatedStore::new(1, Arc::new(ManualClock::default())));
    Objects::new(store, Uuid::new_v4(), Arc::new(SystemHostClock))
}

fn new<R>() -> Ref<R> {
    Ref::new(Uuid::new_v4())
}

#[test]
fn what_is_around_a_vm_follows_its_run() {
    let objects = objects();
    let (vm, vbd, vif, vdi, host, metrics) = (new::<Vm>(), new(), new(), new(), new::<Host>(), new::<HostMetrics>());
    objects
        .change(|change| {
            change.put(host, &Host { metrics, ..Host::default() })?;
            change.put(metrics, &HostMetrics { memory_free: 1 << 40, ..HostMetrics::default() })?;
            change.put(vbd, &Vbd { vm, vdi, ..Vbd::default() })?;
            change.put(vif, &Vif { vm, ..Vif::default() })?;
            change.put(vdi, &Vdi { vbds: vec![vbd], ..Vdi::default() })?;
            change.put(vm, &Vm { vbds: vec![vbd], vifs: vec![vif], ..Vm::default() })
        })
        .unwrap();
    let record = objects.get(vm).unwrap();
    assert_eq!(objects.get(record.metrics).unwrap().vcpus_number, 0);
    assert!(record.guest_metrics.is_null());
    assert_eq!(objects.get(vbd).unwrap().allowed_operations, [VbdOperations::Attach]);
    assert!(objects.get(vdi).unwrap().allowed_operations.contains(&VdiOperations::Destroy));

    objects
        .change(|change| {
            let mut record = change.get(vm)?;
            (record.power_state, record.domid, record.resident_on) = (VmPowerState::Running, 1, host);
            change.put(vm, &record)?;
            let attached = Vbd { currently_attached: true, ..change.get(vbd)? };
            change.put(vbd, &attached)
        })
        .unwrap();
    let record = objects.get(vm).unwrap();
    let measured = objects.get(record.metrics).unwrap();
    assert_eq!((measured.vcpus_number, measured.hvm), (1, true));
    assert_eq!(measured.start_time, measured.last_updated);
    objects.get(record.guest_metrics).unwrap();
    assert_eq!(objects.get(host).unwrap().resident_vms, [vm]);
    assert_eq!(objects.get(metrics).unwrap().memory_free, (1 << 40) - values::host_memory(record.memory_static_max));
    assert_eq!(objects.get(vbd).unwrap().allowed_operations, [VbdOperations::Unplug, VbdOperations::UnplugForce]);
    assert_eq!(objects.get(vif).unwrap().allowed_operations, [VifOperations::Plug]);
    assert_eq!(objects.get(vdi).unwrap().allowed_operations, [VdiOperations::ResizeOnline]);

    objects
        .change(|change| {
            change.remove(vm);
            Ok(())
        })
        .unwrap();
    assert_eq!(objects.get(host).unwrap().resident_vms, []);
    assert_eq!(objects.get(metrics).unwrap().memory_free, 1 << 40);
    assert!(objects.get(record.metrics).is_err() && objects.get(record.guest_metrics).is_err());
}

#[test]
fn a_repository_with_disks_is_not_forgotten_and_its_host_knows_it() {
    let objects = objects();
    let (sr, pbd, host) = (new::<Sr>(), new::<Pbd>(), new::<Host>());
    objects
        .change(|change| {
            change.put(pbd, &Pbd { host, sr, ..Pbd::default() })?;
            change.put(sr, &Sr::default())?;
            change.put(host, &Host::default())
        })
        .unwrap();
    assert!(objects.get(sr).unwrap().allowed_operations.contains(&StorageOperations::Forget));
    assert_eq!(objects.get(host).unwrap().pbds, [pbd]);
    objects
        .change(|change| {
            change.remove(pbd);
            change.put(sr, &Sr { vdis: vec![new()], ..Sr::default() })
        })
        .unwrap();
    assert!(!objects.get(sr).unwrap().allowed_operations.contains(&StorageOperations::Forget));
    assert_eq!(objects.get(host).unwrap().pbds, []);
}

#[test]
fn companions_are_other_objects() {
    let uuid = Uuid::new_v4();
    let metrics = companion(uuid, "VM_metrics");
    assert_eq!(metrics, companion(uuid, "VM_metrics"));
    assert!(metrics != companion(uuid, "VM_guest_metrics") && metrics != uuid);
}
