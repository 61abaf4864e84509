//! From an appliance to a configuration, and what of it cannot be had here.

use std::collections::BTreeMap;

use super::appliance::{Appliance, ApplianceNic, Firmware, network_interfaces};
use super::ova::{Document, Record};
use super::policy;
use crate::config::{Boot, ByteSize, Disk, MAX_VCPUS, MIN_MEMORY, Nic, PAGE, RateLimit, Uuid, VmConfig};
use crate::net::MacAddress;
use crate::repository::LONGEST_NAME;
use crate::{Error, ErrorKind, Result};

/// What of an appliance is to be another way.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    pub(super) name: Option<String>,
    /// The bridges that stand for networks, by the names of these.
    pub(super) networks: BTreeMap<String, String>,
    /// Whether UUID and hardware addresses stay.
    pub(super) preserve: bool,
}

/// The configuration of an appliance with these disks, which are in the appliance's order; and what it cannot say.
pub(super) fn configure(document: &Document, disks: Vec<Disk>, choices: &Choices) -> Result<(VmConfig, Vec<String>)> {
    let appliance = Appliance::read(document)?;
    let mut remarks = Vec::new();
    let mut config = VmConfig::new(name(&appliance, choices, &mut remarks))
        .description(&appliance.description)
        .vcpus(vcpus(&appliance, &mut remarks))
        .memory(memory(&appliance, &mut remarks));
    if let Some(uuid) = appliance.uuid.filter(|_| choices.preserve) {
        config = config.uuid(uuid);
        config.generation_id = generation(&document.vm()?.fields).unwrap_or(config.generation_id);
    }
    config.on_crash = policy::crash_action(&document.vm()?.fields).unwrap_or(config.on_crash);
    let bootable = appliance.disks.iter().position(|disk| disk.bootable).unwrap_or(0);
    if let Boot::Disk { disk, .. } = &mut config.boot {
        *disk = bootable;
    }
    for (disk, described) in disks.into_iter().zip(&appliance.disks) {
        config = config.disk(if described.read_only { disk.read_only() } else { disk });
    }
    for (index, (described, vif)) in appliance.nics.iter().zip(network_interfaces(document)).enumerate() {
        let nic = nic(index, described, choices, &mut remarks)?;
        config = config.nic(nic.transmit_limit(policy::transmit_limit(&vif.fields)));
    }
    machine_remarks(&appliance, &mut remarks);
    field_remarks(&document.vm()?.fields, &mut remarks);
    object_remarks(document, &mut remarks);
    Ok((config, remarks))
}

fn name(appliance: &Appliance, choices: &Choices, remarks: &mut Vec<String>) -> String {
    if let Some(name) = &choices.name {
        return name.clone();
    }
    let mut name: String = appliance.name.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    name.truncate(name.floor_char_boundary(LONGEST_NAME));
    if name.trim().is_empty() {
        "unnamed".clone_into(&mut name);
    }
    if name != appliance.name {
        remarks.push(format!("it is called '{name}', because {:?} cannot be a name here", appliance.name));
    }
    name
}

fn vcpus(appliance: &Appliance, remarks: &mut Vec<String>) -> u32 {
    let count = appliance.vcpus.clamp(1, MAX_VCPUS);
    if count != appliance.vcpus {
        remarks.push(format!("it gets {count} vCPUs instead of {}", appliance.vcpus));
    }
    count
}

fn memory(appliance: &Appliance, remarks: &mut Vec<String>) -> ByteSize {
    let asked = appliance.memory.bytes();
    let size = ByteSize::new(asked.clamp(MIN_MEMORY.bytes(), u64::MAX - PAGE).next_multiple_of(PAGE));
    if size != appliance.memory {
        remarks.push(format!("it gets {size} of memory instead of {}", appliance.memory));
    }
    size
}

fn nic(index: usize, described: &ApplianceNic, choices: &Choices, remarks: &mut Vec<String>) -> Result<Nic> {
    let mut nic = Nic::new_tap().mac(MacAddress::random());
    if choices.preserve && !described.mac.is_empty() {
        let mac = described.mac.parse().map_err(|error: Error| {
            Error::new(ErrorKind::CorruptArchive, format!("network interface {index} in ova.xml")).because(error)
        })?;
        nic = nic.mac(mac);
    }
    if let Some(mtu) = described.mtu.filter(|mtu| *mtu >= 68 && *mtu != 1500) {
        nic = nic.mtu(mtu);
    }
    match choices.networks.get(&described.network) {
        Some(bridge) => nic = nic.bridge(bridge),
        None => remarks.push(format!(
            "network interface {index} was on the network '{}', and is on none now: name a bridge for it",
            described.network
        )),
    }
    Ok(nic)
}

/// The generation ID, which is two signed numbers there.
fn generation(vm: &Record) -> Option<Uuid> {
    let (high, low) = vm.text("generation_id").split_once(':')?;
    let number = |text: &str| text.parse::<i64>().ok().map(i64::cast_unsigned);
    Some(Uuid::from_u64_pair(number(high)?, number(low)?)).filter(|id| !id.is_nil())
}

fn machine_remarks(appliance: &Appliance, remarks: &mut Vec<String>) {
    match appliance.firmware {
        Firmware::Bios => {}
        Firmware::Uefi => remarks.push(
            "it booted by UEFI; here the kernel is loaded that the boot menu on its disk names, and UEFI's variables are \
             left out"
                .into(),
        ),
        Firmware::Paravirtual => remarks.push("it was paravirtual; here it boots its own kernel on virtual hardware".into()),
    }
    for disc in &appliance.cd_drives {
        let disc = disc.as_ref().map_or("empty".to_owned(), |name| format!("with the disc '{name}'"));
        remarks.push(format!("its CD drive, {disc}, is left out"));
    }
    if appliance.suspended {
        remarks.push(
            "it was suspended; the image of its memory is left out, so that it starts as after a power failure".into(),
        );
    }
    if appliance.template {
        remarks.push("it was a template; it is a VM now, and can be sealed as a template again".into());
    }
    if appliance.disks.is_empty() {
        remarks.push("it has no disk to boot from".into());
    }
}

/// What fields of the VM say that is left out, and what they say where there is nothing to leave out.
const FIELDS: [(&str, &[&str], &str); 14] = [
    ("PV_kernel", &[""], "it started the kernel {} of its host; here it boots the kernel on its disk"),
    ("PV_args", &[""], "its kernel got the arguments '{}' from outside, which are left out"),
    ("PV_bootloader", &["", "pygrub", "eliloader"], "its boot loader {} is left out"),
    ("ha_restart_priority", &["", "0"], "its priority '{}' for being restarted is left out"),
    ("start_delay", &["", "0"], "its delay of {} s at the start is left out"),
    ("shutdown_delay", &["", "0"], "its delay of {} s at the end is left out"),
    ("order", &["", "0"], "its place {} in the order of starts is left out"),
    ("actions_after_shutdown", &["", "destroy", "Destroy"], "it was to '{}' after a shutdown, and is halted here"),
    ("actions_after_reboot", &["", "restart", "Restart"], "it was to '{}' after a reboot, and is restarted here"),
    (
        "actions_after_crash",
        &["", "destroy", "Destroy", "restart", "Restart", "preserve", "Preserve"],
        "it was to '{}' after a crash; here no dump is written, and its name stays",
    ),
    ("PCI_bus", &[""], "the PCI devices {} of its host are left out"),
    ("appliance", &["", "OpaqueRef:NULL"], "its membership in the group of VMs {} is left out"),
    ("HVM_shadow_multiplier", &["", "1", "1."], "its factor {} for shadow memory is left out"),
    ("suspend_SR", &["", "OpaqueRef:NULL"], "the place {} for its memory when suspended is left out"),
];

/// What entries of maps in the VM say that is left out.
const ENTRIES: [(&str, &str, &str, &str); 6] = [
    ("platform", "secureboot", "true", "it booted by Secure Boot, which is left out"),
    ("platform", "viridian", "true", "the interfaces for Windows that it had are left out"),
    ("platform", "exp-nested-hvm", "true", "it could run VMs itself, which is left out"),
    ("platform", "nested-virt", "true", "it could run VMs itself, which is left out"),
    ("HVM_boot_params", "order", "n", "it booted from the network; here it boots from its disk"),
    ("other_config", "auto_poweron", "true", "it was to start with its host, which is left out"),
];

fn field_remarks(vm: &Record, remarks: &mut Vec<String>) {
    for (field, nothing, text) in FIELDS {
        let value = vm.text(field);
        // A reference within the archive stands for what the archive does not hold.
        if !nothing.contains(&value) && !value.starts_with("Ref:") {
            remarks.push(text.replace("{}", value));
        }
    }
    for (map, key, value, text) in ENTRIES {
        if vm.text_in(map, key) == value {
            remarks.push(text.to_owned());
        }
    }
    let cores = vm.text_in("platform", "cores-per-socket");
    if !matches!(cores, "" | "1") {
        remarks.push(format!("its vCPUs were {cores} to a socket; here they are all in one"));
    }
    for (key, what) in [("weight", "weight"), ("cap", "cap"), ("mask", "set of processors")] {
        let value = vm.text_in("VCPUs_params", key);
        if !value.is_empty() {
            remarks.push(format!("the {what} {value} of its vCPUs is left out"));
        }
    }
    let (most, start) = (vm.number("VCPUs_max"), vm.number("VCPUs_at_startup"));
    if most > start {
        remarks.push(format!("it could have had {} vCPUs; here it has those it starts with", most.unwrap_or_default()));
    }
    let (least, most) = (vm.number("memory_dynamic_min"), vm.number("memory_dynamic_max"));
    if least < most {
        remarks.push("its memory could shrink while it ran; here it has all of it".to_owned());
    }
}

/// Classes of devices that are left out.
const DEVICES: [(&str, &str); 4] = [
    ("VTPM", "its virtual TPM, with the secrets in it, is left out"),
    ("VGPU", "its graphics processor is left out"),
    ("PVS_proxy", "its connection to Citrix Provisioning is left out"),
    ("VUSB", "its USB device is left out"),
];

fn object_remarks(document: &Document, remarks: &mut Vec<String>) {
    for (class, text) in DEVICES {
        remarks.extend(document.of_class(class).map(|_| text.to_owned()));
    }
    let limited = |class| {
        let objects = document.of_class(class);
        objects.map(|object| &object.fields).filter(|fields| !fields.text("qos_algorithm_type").is_empty())
    };
    for vbd in limited("VBD") {
        remarks.push(format!("the priority of disk {} is left out", vbd.text("userdevice")));
    }
    for vif in limited("VIF").filter(|vif| policy::transmit_limit(vif) == RateLimit::none()) {
        remarks.push(format!("the limit of network interface {} is left out", vif.text("device")));
    }
    for vif in document.of_class("VIF") {
        let locked = !matches!(vif.fields.text("locking_mode"), "" | "network_default" | "unlocked");
        if locked {
            remarks.push(format!(
                "the lock of network interface {} to its addresses is left out",
                vif.fields.text("device")
            ));
        }
    }
}
