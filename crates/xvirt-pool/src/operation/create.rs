//! The records of new objects, from what a client gave, and what records must satisfy.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Failure, codes, values};
use crate::model::{
    Class, ClassTable, DomainType, Network, Qualifier, Record, Ref, Vbd, VbdMode, VbdType, Vdi, Vif, Vm, VmPowerState,
};

/// The bytes of a page.
const PAGE: i64 = 4096;
/// The least memory of a VM in bytes.
const LEAST_MEMORY: i64 = 2 << 20;
/// The most vCPUs.
const MOST_VCPUS: i64 = 254;
/// The most devices of a kind.
const MOST_DEVICES: u32 = 26;

/// What the largest packet of a network may have, in bytes.
const MTU: std::ops::RangeInclusive<i64> = 68..=65_535;

/// What a new object has of a record: not what only the service sets.
pub(crate) fn given<R: Record>(mut record: Map<String, Value>) -> Result<R, Failure> {
    record.retain(|name, _| R::TABLE.field(name).is_none_or(|field| field.qualifier != Qualifier::DynamicRo));
    Ok(R::from_value(Value::Object(record))?)
}

/// A new VM: what a client says of it, and how it is at first.
pub(crate) fn vm(given: Vm, uuid: Uuid, generation: Uuid) -> Result<Vm, Failure> {
    let mut vm = Vm {
        uuid: uuid.to_string(),
        power_state: VmPowerState::Halted,
        domain_type: match given.domain_type {
            DomainType::Unspecified => DomainType::Hvm,
            other => other,
        },
        generation_id: values::generation_text(generation),
        suspend_vdi: Ref::NULL,
        memory_target: 0,
        ..given
    };
    // Clients that know Xen leave some of the limits at 0.
    if vm.memory_dynamic_max == 0 {
        vm.memory_dynamic_max = vm.memory_static_max;
    }
    vm.memory_overhead = values::overhead(vm.memory_static_max);
    check_vm(&vm)?;
    Ok(vm)
}

/// Checks a record that a client has changed.
pub(crate) fn check(table: &ClassTable, record: &Value) -> Result<(), Failure> {
    match table.name {
        "VM" => check_vm(&Vm::from_value(record.clone())?),
        "VBD" => {
            let vbd = Vbd::from_value(record.clone())?;
            check_drive(&vbd)?;
            values::limit(&vbd.qos_algorithm_type, &vbd.qos_algorithm_params, "").map(drop)
        }
        "VIF" => {
            let vif = Vif::from_value(record.clone())?;
            values::nic_limit(&vif.qos_algorithm_type, &vif.qos_algorithm_params).map(drop)
        }
        "network" => check_network(&Network::from_value(record.clone())?),
        _ => Ok(()),
    }
}

fn check_vm(vm: &Vm) -> Result<(), Failure> {
    let (least, most) = (vm.memory_static_min, vm.memory_static_max);
    let ordered = least <= vm.memory_dynamic_min && vm.memory_dynamic_min <= vm.memory_dynamic_max;
    if !ordered || vm.memory_dynamic_max > most || least < 0 {
        let order = "memory_static_min <= memory_dynamic_min <= memory_dynamic_max <= memory_static_max";
        return Err(Failure::new("MEMORY_CONSTRAINT_VIOLATION", [order]).with_remedy("set them together"));
    }
    if most < LEAST_MEMORY || most % PAGE != 0 {
        let remedy = "give at least 2 MiB, and a multiple of 4 KiB, in bytes";
        return Err(codes::invalid_value("memory_static_max", most, remedy));
    }
    if !(1..=MOST_VCPUS).contains(&vm.vcpus_max) {
        return Err(codes::invalid_value("VCPUs_max", vm.vcpus_max, "give 1 to 254"));
    }
    if !(1..=vm.vcpus_max).contains(&vm.vcpus_at_startup) {
        return Err(codes::invalid_value("VCPUs_at_startup", vm.vcpus_at_startup, "give 1 to VCPUs_max"));
    }
    if vm.domain_type != DomainType::Hvm {
        return Err(codes::not_supported("VM.domain_type", vm.domain_type, "only hvm is possible"));
    }
    if vm.vcpus_params.contains_key("mask") {
        return Err(codes::not_supported("VM.VCPUs_params", "mask", "vCPUs are not bound to processors"));
    }
    for name in ["weight", "cap"] {
        if let Some(text) = vm.vcpus_params.get(name)
            && text.parse::<u32>().is_err()
        {
            return Err(codes::invalid_value("VCPUs_params", text, format!("give a whole number as {name}")));
        }
    }
    for name in ["secureboot", "viridian", "nested-virt", "exp-nested-hvm"] {
        if vm.platform.get(name).is_some_and(|value| value == "true") {
            return Err(codes::not_supported("VM.platform", name, "xvirt does not have it"));
        }
    }
    if vm.hvm_boot_params.get("order").is_some_and(|order| order.starts_with('n')) {
        return Err(codes::not_supported("VM.HVM_boot_params", "order", "xvirt does not boot from the network"));
    }
    for (field, name) in [("PV_kernel", &vm.pv_kernel), ("PV_ramdisk", &vm.pv_ramdisk)] {
        if !name.is_empty() {
            values::file_name(field, name)?;
        }
    }
    Ok(())
}

/// A new network: a bridge of the host, by its name.
pub(crate) fn network(given: Network, uuid: Uuid) -> Result<Network, Failure> {
    if given.bridge.is_empty() {
        return Err(codes::not_supported("network.bridge", "", "name a bridge of the host: xvirt makes none itself"));
    }
    check_network(&given)?;
    Ok(Network { uuid: uuid.to_string(), ..given })
}

fn check_network(network: &Network) -> Result<(), Failure> {
    if network.mtu != 0 && !MTU.contains(&network.mtu) {
        return Err(codes::invalid_value("MTU", network.mtu, "give 68 to 65535 bytes, or 0 for 1500"));
    }
    Ok(())
}

/// A new VBD of a VM that has `others`.
pub(crate) fn vbd(given: Vbd, uuid: Uuid, vdi: Option<&Vdi>, others: &[Vbd]) -> Result<Vbd, Failure> {
    check_drive(&given)?;
    if vdi.is_none() && given.r#type == VbdType::Disk {
        return Err(codes::handle_invalid(Vdi::TABLE.name, given.vdi));
    }
    let (userdevice, device) = place_of_vbd(&given.userdevice, others)?;
    values::limit(&given.qos_algorithm_type, &given.qos_algorithm_params, "")?;
    Ok(Vbd { uuid: uuid.to_string(), device, userdevice, empty: vdi.is_none(), currently_attached: false, ..given })
}

/// A new VIF of a VM that has `others`. `generated` is its MAC address if the client gives none.
pub(crate) fn vif(given: Vif, uuid: Uuid, generated: String, others: &[Vif]) -> Result<Vif, Failure> {
    let taken: Vec<&str> = others.iter().map(|other| other.device.as_str()).collect();
    let device = place(&given.device, &taken, "device")?;
    let autogenerated = given.mac.is_empty();
    let mac = if autogenerated { generated } else { given.mac.to_lowercase() };
    if given.mtu != 0 && !MTU.contains(&given.mtu) {
        return Err(codes::invalid_value("MTU", given.mtu, "give 68 to 65535 bytes, or 0 for the network's"));
    }
    values::nic_limit(&given.qos_algorithm_type, &given.qos_algorithm_params)?;
    Ok(Vif {
        uuid: uuid.to_string(),
        device,
        mac,
        mac_autogenerated: autogenerated,
        currently_attached: false,
        ..given
    })
}

/// Checks what a VBD is: a disk, or a drive that the guest does not write.
pub(crate) fn check_drive(vbd: &Vbd) -> Result<(), Failure> {
    if vbd.r#type == VbdType::Floppy {
        return Err(codes::not_supported("VBD.type", vbd.r#type, "use Disk or CD"));
    }
    if vbd.r#type == VbdType::Cd && vbd.mode != VbdMode::Ro {
        return Err(Failure::new("VBD_CDS_MUST_BE_READONLY", [] as [&str; 0]).with_remedy("set its mode to RO"));
    }
    Ok(())
}

/// The place of a VBD of a VM that has `others`, and the name that its guest is expected to give it.
pub(crate) fn place_of_vbd(wanted: &str, others: &[Vbd]) -> Result<(String, String), Failure> {
    let taken: Vec<&str> = others.iter().map(|other| other.userdevice.as_str()).collect();
    let userdevice = place(wanted, &taken, "userdevice")?;
    let letter = userdevice.parse::<u8>().ok().and_then(|number| u8::checked_add(b'a', number)).map(char::from);
    let device = letter.filter(char::is_ascii_lowercase).map(|letter| format!("vd{letter}")).unwrap_or_default();
    Ok((userdevice, device))
}

/// The places that another device can have.
pub(crate) fn free_places(taken: &[String]) -> Vec<String> {
    (0..=MOST_DEVICES).map(|number| number.to_string()).filter(|place| !taken.contains(place)).collect()
}

/// The place of a device: the one that is asked for, or the first free one.
fn place(wanted: &str, taken: &[&str], field: &str) -> Result<String, Failure> {
    let places = 0..=MOST_DEVICES;
    if matches!(wanted, "" | "autodetect") {
        let free = places.map(|number| number.to_string()).find(|number| !taken.contains(&number.as_str()));
        return free
            .ok_or_else(|| codes::not_allowed("the VM has no free place for a device", "remove another device"));
    }
    if !wanted.parse().is_ok_and(|number| places.contains(&number)) {
        return Err(codes::invalid_value(field, wanted, "give 0 to 26, or autodetect"));
    }
    if taken.contains(&wanted) {
        return Err(Failure::new("DEVICE_ALREADY_EXISTS", [wanted]).with_remedy("use another place, or autodetect"));
    }
    Ok(wanted.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_vm_is_halted_whatever_the_client_says() {
        let record = Vm { power_state: VmPowerState::Running, domid: 7, vbds: vec![Ref::NULL], ..Vm::default() };
        let Value::Object(record) = record.to_value().unwrap() else { panic!("{record:?}") };
        let vm = vm(given(record).unwrap(), Uuid::new_v4(), Uuid::new_v4()).unwrap();
        assert_eq!((vm.power_state, vm.domid, vm.vbds.len()), (VmPowerState::Halted, -1, 0));
    }

    #[test]
    fn what_a_vm_cannot_be_is_refused() {
        let code = |vm: Vm| check_vm(&vm).unwrap_err().code;
        let ok = Vm::default();
        check_vm(&ok).unwrap();
        assert_eq!(code(Vm { memory_dynamic_min: 1, ..ok.clone() }), "MEMORY_CONSTRAINT_VIOLATION");
        assert_eq!(code(Vm { vcpus_max: 0, ..ok.clone() }), "INVALID_VALUE");
        assert_eq!(code(Vm { vcpus_at_startup: 2, ..ok.clone() }), "INVALID_VALUE");
        assert_eq!(code(Vm { pv_kernel: "../x".into(), ..ok.clone() }), "INVALID_VALUE");
        assert_eq!(code(Vm { domain_type: DomainType::Pv, ..ok.clone() }), "VALUE_NOT_SUPPORTED");
        let mask = [("mask".to_owned(), "0".to_owned())].into();
        assert_eq!(code(Vm { vcpus_params: mask, ..ok }), "VALUE_NOT_SUPPORTED");
    }

    #[test]
    fn a_device_gets_its_place_or_the_first_free_one() {
        let vdi = Vdi::default();
        let vbd = |userdevice: &str, others: &[Vbd]| {
            vbd(Vbd { userdevice: userdevice.into(), ..Vbd::default() }, Uuid::new_v4(), Some(&vdi), others)
        };
        let first = vbd("autodetect", &[]).unwrap();
        assert_eq!((first.userdevice.as_str(), first.device.as_str()), ("0", "vda"));
        assert_eq!(vbd("", std::slice::from_ref(&first)).unwrap().device, "vdb");
        assert_eq!(vbd("0", &[first]).unwrap_err().code, "DEVICE_ALREADY_EXISTS");
        assert_eq!(vbd("27", &[]).unwrap_err().code, "INVALID_VALUE");
        assert_eq!(vbd("26", &[]).unwrap().device, "");
    }
}
