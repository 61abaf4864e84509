//! Converts an appliance to a configuration, and lists what cannot be converted.

use std::collections::{BTreeMap, BTreeSet};

use xvirt_xva::{AfterCrash, Appliance, ApplianceNic, Firmware, Setting};

use crate::config::{Boot, ByteSize, CrashAction, Disk, MAX_VCPUS, MIN_MEMORY, Nic, PAGE, RateLimit, VmConfig};
use crate::net::MacAddress;
use crate::repository::MAX_NAME_LENGTH;
use crate::{Error, ErrorKind, Result};

/// Options for the conversion of an appliance.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    pub(super) name: Option<String>,
    /// The bridges to use for networks, by network name.
    pub(super) networks: BTreeMap<String, String>,
    /// Whether to keep UUID and MAC addresses.
    pub(super) preserve: bool,
}

/// The configuration of an appliance with these disks, in the appliance's order, and remarks about what cannot be
/// converted.
pub(super) fn configure(appliance: &Appliance, disks: Vec<Disk>, choices: &Choices) -> Result<(VmConfig, Vec<String>)> {
    let mut remarks = Vec::new();
    let mut config = VmConfig::new(name(appliance, choices, &mut remarks))
        .description(&appliance.description)
        .vcpus(vcpus(appliance, &mut remarks))
        .memory(memory(appliance, &mut remarks));
    if let Some(uuid) = appliance.uuid.filter(|_| choices.preserve) {
        config = config.uuid(uuid);
        config.generation_id = appliance.generation_id.unwrap_or(config.generation_id);
    }
    config.on_crash = appliance.after_crash.and_then(crash_action).unwrap_or(config.on_crash);
    let bootable = appliance.disks.iter().position(|disk| disk.bootable).unwrap_or(0);
    if let Boot::Disk { disk, .. } = &mut config.boot {
        *disk = bootable;
    }
    for (disk, described) in disks.into_iter().zip(&appliance.disks) {
        config = config.disk(if described.read_only { disk.read_only() } else { disk });
    }
    remarks.extend(unknown_networks(appliance, choices));
    for (index, described) in appliance.nics.iter().enumerate() {
        config = config.nic(nic(index, described, choices, &mut remarks)?);
    }
    machine_remarks(appliance, &mut remarks);
    remarks.extend(appliance.settings.iter().map(setting_remark));
    Ok((config, remarks))
}

/// A remark for each network that was mapped, and on which no interface is.
fn unknown_networks(appliance: &Appliance, choices: &Choices) -> Vec<String> {
    let known: BTreeSet<_> = appliance.nics.iter().map(|nic| nic.network.as_str()).collect();
    let names: Vec<_> = known.iter().map(|name| format!("'{name}'")).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let unknown = choices.networks.keys().filter(|name| !known.contains(name.as_str()));
    unknown.map(|name| format!("none of its interfaces was on the network '{name}'; its networks: {names}")).collect()
}

fn crash_action(action: AfterCrash) -> Option<CrashAction> {
    match action {
        AfterCrash::Destroy => Some(CrashAction::Halt),
        AfterCrash::Restart => Some(CrashAction::Restart),
        AfterCrash::Preserve => Some(CrashAction::Preserve),
        _ => None,
    }
}

fn name(appliance: &Appliance, choices: &Choices, remarks: &mut Vec<String>) -> String {
    if let Some(name) = &choices.name {
        return name.clone();
    }
    let mut name: String = appliance.name.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    name.truncate(name.floor_char_boundary(MAX_NAME_LENGTH));
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
    let asked = ByteSize::new(appliance.memory);
    let size = ByteSize::new(appliance.memory.clamp(MIN_MEMORY.bytes(), u64::MAX - PAGE).next_multiple_of(PAGE));
    if size != asked {
        remarks.push(format!("it gets {size} of memory instead of {asked}"));
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
    if let Some(limit) = described.transmit_limit {
        nic = nic.transmit_limit(RateLimit::none().bytes_per_second(ByteSize::new(limit)));
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

fn machine_remarks(appliance: &Appliance, remarks: &mut Vec<String>) {
    match appliance.firmware {
        Firmware::Bios => {}
        Firmware::Uefi => remarks.push(
            "it booted by UEFI; here the kernel is loaded that the boot menu on its disk names, and UEFI's variables are \
             left out"
                .into(),
        ),
        Firmware::Paravirtual => remarks.push("it was paravirtual; here it boots its own kernel on virtual hardware".into()),
        other => remarks.push(format!("it booted by {other:?}; here it boots its own kernel")),
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

/// Remarks about settings: `{value}` and `{device}` stand for the setting's value and device.
const SETTINGS: [(&str, &str); 33] = [
    ("PV_kernel", "it started the kernel {value} of its host; here it boots the kernel on its disk"),
    ("PV_args", "its kernel got the arguments '{value}' from outside, which are left out"),
    ("PV_bootloader", "its boot loader {value} is left out"),
    ("ha_restart_priority", "its priority '{value}' for being restarted is left out"),
    ("start_delay", "its delay of {value} s at the start is left out"),
    ("shutdown_delay", "its delay of {value} s at the end is left out"),
    ("order", "its place {value} in the order of starts is left out"),
    ("actions_after_shutdown", "it was to '{value}' after a shutdown, and is halted here"),
    ("actions_after_reboot", "it was to '{value}' after a reboot, and is restarted here"),
    ("actions_after_crash", "it was to '{value}' after a crash; here no dump is written, and its name stays"),
    ("PCI_bus", "the PCI devices {value} of its host are left out"),
    ("appliance", "its membership in the group of VMs {value} is left out"),
    ("HVM_shadow_multiplier", "its factor {value} for shadow memory is left out"),
    ("suspend_SR", "the place {value} for its memory when suspended is left out"),
    ("platform:secureboot", "it booted by Secure Boot, which is left out"),
    ("platform:viridian", "the interfaces for Windows that it had are left out"),
    ("platform:exp-nested-hvm", "it could run VMs itself, which is left out"),
    ("platform:nested-virt", "it could run VMs itself, which is left out"),
    ("HVM_boot_params:order", "it booted from the network; here it boots from its disk"),
    ("other_config:auto_poweron", "it was to start with its host, which is left out"),
    ("platform:cores-per-socket", "its vCPUs were {value} to a socket; here they are all in one"),
    ("VCPUs_params:weight", "the weight {value} of its vCPUs is left out"),
    ("VCPUs_params:cap", "the cap {value} of its vCPUs is left out"),
    ("VCPUs_params:mask", "the set of processors {value} of its vCPUs is left out"),
    ("VCPUs_max", "it could have had {value} vCPUs; here it has those it starts with"),
    ("memory_dynamic_min", "its memory could shrink while it ran; here it has all of it"),
    ("VTPM", "its virtual TPM, with the secrets in it, is left out"),
    ("VGPU", "its graphics processor is left out"),
    ("PVS_proxy", "its connection to Citrix Provisioning is left out"),
    ("VUSB", "its USB device is left out"),
    ("VBD:qos_algorithm_type", "the priority of disk {device} is left out"),
    ("VIF:qos_algorithm_type", "the limit of network interface {device} is left out"),
    ("VIF:locking_mode", "the lock of network interface {device} to its addresses is left out"),
];

fn setting_remark(setting: &Setting) -> String {
    let known = SETTINGS.iter().find(|(field, _)| *field == setting.field);
    let text = known.map_or("its setting {value} is left out", |(_, text)| text);
    let value = if known.is_some() { setting.value.clone() } else { format!("{}={}", setting.field, setting.value) };
    text.replace("{value}", &value).replace("{device}", setting.device.as_deref().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use xvirt_xva::ova::{Document, Object, Value};

    use super::*;

    /// A document with every field that has a remark.
    fn talkative() -> Document {
        let mut document = Document::new_vm("vm");
        let vif = document.add_network_interface(None).unwrap();
        let disk = document.add_disk("disk", 1).unwrap();
        for (field, _) in SETTINGS {
            let value = match field {
                "platform:cores-per-socket" | "VCPUs_max" | "start_delay" => "7",
                "HVM_boot_params:order" => "n",
                "memory_dynamic_min" => "1",
                _ => "true",
            };
            match field.split_once(':') {
                Some(("VIF", field)) => {
                    document.object_mut("VIF", &vif).unwrap().fields.set(field, Value::text(value));
                }
                Some(("VBD", field)) => {
                    document.object_mut("VBD", &disk.vbd).unwrap().fields.set(field, Value::text(value));
                }
                Some((map, key)) => {
                    let vm = &mut document.vm_mut().unwrap().fields;
                    let Some(Value::Struct(mut entries)) = vm.take(map).or(Some(Value::map([]))) else {
                        panic!("{map}")
                    };
                    entries.set(key, Value::text(value));
                    vm.set(map, Value::Struct(entries));
                }
                None if matches!(field, "VTPM" | "VGPU" | "PVS_proxy" | "VUSB") => {
                    document.push(Object::new(field, document.free_id(), []));
                }
                None => document.vm_mut().unwrap().fields.set(field, Value::text(value)),
            }
        }
        document
    }

    #[test]
    fn every_setting_is_told_in_words_of_its_own() {
        let appliance = Appliance::read(&talkative()).unwrap();
        let found: BTreeSet<_> = appliance.settings.iter().map(|setting| setting.field).collect();
        assert_eq!(found, SETTINGS.iter().map(|(field, _)| *field).collect());
        let told: Vec<_> = appliance.settings.iter().map(setting_remark).collect();
        for expected in [
            "its delay of 7 s at the start is left out",
            "the interfaces for Windows that it had are left out",
            "its vCPUs were 7 to a socket; here they are all in one",
            "it could have had 7 vCPUs; here it has those it starts with",
            "the lock of network interface 0 to its addresses is left out",
        ] {
            assert!(told.iter().any(|told| told == expected), "{expected}: {told:?}");
        }
        assert!(told.iter().all(|told| !told.contains(['{', '}', '=', '?'])), "{told:?}");
    }
}
