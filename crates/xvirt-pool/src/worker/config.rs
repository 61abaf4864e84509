//! What a VM is built from, as its records say.

use std::path::Path;

use serde_json::Value;
use uuid::Uuid;
use xvirt_core::config::{Boot, ByteSize, CrashAction, Disk, Nic, VmConfig};
use xvirt_core::disk::ImageFormat;
use xvirt_core::net::MacAddress;

use crate::model::{Network, OnCrashBehaviour, Vbd, VbdMode, Vdi, Vif, Vm};
use crate::operation::values::{generation, in_folder, limit, mtu, nic_limit};
use crate::operation::{Failure, codes};

/// How many characters a serial number has.
const SERIAL: usize = 20;

/// The records of a VM, with its disks and network interfaces in their order.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) uuid: Uuid,
    pub(crate) vm: Vm,
    pub(crate) disks: Vec<(Uuid, Vbd, Vdi)>,
    pub(crate) nics: Vec<(Uuid, Vif, Network)>,
}

/// The configuration of a VM. `kernels` is the folder of kernels of this host.
///
/// # Errors
/// A record has a value that the core refuses.
pub(crate) fn config(records: &Records, kernels: &Path) -> Result<VmConfig, Failure> {
    let vm = &records.vm;
    // The core's VMs have names, XenAPI's need none.
    let name = if vm.name_label.is_empty() { records.uuid.to_string() } else { vm.name_label.clone() };
    let mut config = VmConfig::new(name)
        .uuid(records.uuid)
        .vcpus(u32::try_from(vm.vcpus_at_startup).unwrap_or(0))
        .memory(bytes(vm.memory_static_max))
        .on_crash(on_crash(vm.actions_after_crash))
        // Which another worker can take over.
        .shared_memory()
        .boot(boot(vm, !records.disks.is_empty(), kernels)?);
    // A balloon, if the range says that the guest's memory may change.
    if vm.memory_dynamic_max > 0 && vm.memory_dynamic_min < vm.memory_static_max {
        config = config.memory_target(bytes(vm.memory_dynamic_max));
    }
    if let Some(generation) = generation(&vm.generation_id) {
        config.generation_id = generation;
    }
    for (_, vbd, vdi) in &records.disks {
        config = config.disk(disk(vbd, vdi)?);
    }
    for (_, vif, network) in &records.nics {
        config = config.nic(nic(vif, network)?);
    }
    let boots = records.disks.iter().position(|(_, vbd, _)| vbd.bootable);
    if let (Boot::Disk { disk, .. }, Some(first)) = (&mut config.boot, boots) {
        *disk = first;
    }
    config.check().map_err(|error| codes::of_core(&error))?;
    Ok(config)
}

/// The configuration of a disk, by the path of its image.
pub(crate) fn disk(vbd: &Vbd, vdi: &Vdi) -> Result<Disk, Failure> {
    let disk = match format_of(vdi.location.as_ref()) {
        ImageFormat::Qcow2 => Disk::qcow2(&vdi.location),
        _ => Disk::raw(&vdi.location),
    };
    let serial: String = vdi.uuid.chars().filter(|letter| *letter != '-').take(SERIAL).collect();
    let disk = disk.serial(serial).limit(limit(&vbd.qos_algorithm_type, &vbd.qos_algorithm_params, "")?);
    Ok(if vbd.mode == VbdMode::Ro || vdi.read_only { disk.read_only() } else { disk })
}

/// The format of an image of a repository, which its name tells.
pub(crate) fn format_of(image: &Path) -> ImageFormat {
    if image.extension().is_some_and(|extension| extension == "qcow2") { ImageFormat::Qcow2 } else { ImageFormat::Raw }
}

/// The configuration of a network interface. Its tap is opened by the service.
pub(crate) fn nic(vif: &Vif, network: &Network) -> Result<Nic, Failure> {
    let mac: MacAddress = vif.mac.parse().map_err(|_| {
        Failure::new("MAC_INVALID", [vif.mac.clone()]).with_remedy("write it as 02:00:00:00:00:01, unicast")
    })?;
    let limit = nic_limit(&vif.qos_algorithm_type, &vif.qos_algorithm_params)?;
    let nic = Nic::new_tap().mac(mac).bridge(&network.bridge).mtu(mtu(vif, network));
    Ok(nic.receive_limit(limit.receive).transmit_limit(limit.transmit))
}

fn boot(vm: &Vm, has_disk: bool, kernels: &Path) -> Result<Boot, Failure> {
    if vm.pv_kernel.is_empty() {
        if !has_disk {
            return Err(codes::not_allowed(
                "the VM has neither a disk nor a kernel to boot from",
                "attach a disk with VBD.create, or name a kernel in PV_kernel",
            ));
        }
        let mut boot = Boot::from_disk();
        if let Boot::Disk { append, .. } = &mut boot {
            append.clone_from(&vm.pv_args);
        }
        return Ok(boot);
    }
    let boot = Boot::kernel(in_folder(kernels, "PV_kernel", &vm.pv_kernel)?).command_line(&vm.pv_args);
    if vm.pv_ramdisk.is_empty() {
        return Ok(boot);
    }
    Ok(boot.initrd(in_folder(kernels, "PV_ramdisk", &vm.pv_ramdisk)?))
}

/// A restart is the service's, which knows when it would be too soon.
fn on_crash(action: OnCrashBehaviour) -> CrashAction {
    match action {
        OnCrashBehaviour::Preserve => CrashAction::Preserve,
        _ => CrashAction::Halt,
    }
}

fn bytes(number: i64) -> ByteSize {
    ByteSize::new(u64::try_from(number).unwrap_or(0))
}

/// What the records of devices in other places say about a text in JSON.
pub(crate) fn path_in(disk: &Value) -> Option<&str> {
    disk.pointer("/source/image/path").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(vm: Vm) -> Records {
        Records { uuid: Uuid::new_v4(), vm, disks: Vec::new(), nics: Vec::new() }
    }

    #[test]
    fn a_vm_without_anything_to_boot_from_is_refused_with_what_to_do() {
        let failure = config(&records(Vm::default()), Path::new("/kernels")).unwrap_err();
        assert_eq!(failure.code, "OPERATION_NOT_ALLOWED");
        assert!(failure.to_string().contains("PV_kernel"), "{failure}");
    }

    #[test]
    fn a_kernel_is_in_the_folder_of_kernels() {
        let vm = Vm { pv_kernel: "demo".into(), pv_args: "a=b".into(), ..Vm::default() };
        let config = config(&records(vm), Path::new("/kernels")).unwrap();
        assert!(format!("{:?}", config.boot).contains("/kernels/demo"), "{:?}", config.boot);
    }
}
