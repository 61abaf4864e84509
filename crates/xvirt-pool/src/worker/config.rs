//! What a VM is built from, as its records say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use uuid::Uuid;
use xvirt_core::config::{Boot, ByteSize, CrashAction, Disk, Nic, RateLimit, VmConfig};
use xvirt_core::disk::ImageFormat;
use xvirt_core::net::MacAddress;

use crate::model::{Network, OnCrashBehaviour, Vbd, VbdMode, Vdi, Vif, Vm};
use crate::operation::{Failure, codes};

/// The scale of Xen's CPU weights, and that of control groups.
const XEN_WEIGHT: u32 = 256;
const GROUP_WEIGHT: u32 = 100;
/// The most weight of a control group (`cpu.weight`).
const MAX_GROUP_WEIGHT: u32 = 10_000;
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
        .boot(boot(vm, kernels)?);
    if vm.memory_dynamic_max > 0 && vm.memory_dynamic_max < vm.memory_static_max {
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
    let mtu = if vif.mtu > 0 { vif.mtu } else { network.mtu };
    let both = limit(&vif.qos_algorithm_type, &vif.qos_algorithm_params, "kbps")?;
    let nic = Nic::new_tap().mac(mac).bridge(&network.bridge).receive_limit(both).transmit_limit(both);
    Ok(match u16::try_from(mtu) {
        Ok(mtu) if mtu > 0 => nic.mtu(mtu),
        _ => nic,
    })
}

/// The limits of a disk or a network interface.
///
/// # Errors
/// The algorithm or one of its parameters is unknown.
pub(crate) fn limit(algorithm: &str, parameters: &BTreeMap<String, String>, rate: &str) -> Result<RateLimit, Failure> {
    let mut limit = RateLimit::none();
    match algorithm {
        "" => return Ok(limit),
        "ratelimit" => {}
        other => return Err(codes::not_supported("qos_algorithm_type", other, "use `ratelimit`, or nothing")),
    }
    for (name, text) in parameters {
        let remedy = "give a whole number above 0";
        let number = text.parse().ok().filter(|number| *number > 0);
        let number: u64 = number.ok_or_else(|| codes::invalid_value("qos_algorithm_params", text, remedy))?;
        limit = match name.as_str() {
            "operations_per_second" => limit.operations_per_second(number),
            "operations_burst" => limit.operations_burst(number),
            "bytes_per_second" => limit.bytes_per_second(ByteSize::new(number)),
            "bytes_burst" => limit.bytes_burst(ByteSize::new(number)),
            // XenServer's unit is KiB a second.
            name if name == rate => limit.bytes_per_second(ByteSize::new(number.saturating_mul(1024))),
            other => return Err(codes::not_supported("qos_algorithm_params", other, "there is no such limit")),
        };
    }
    Ok(limit)
}

/// The weight and the cap of a control group, from VCPUs_params.
pub(crate) fn cpu_limits(parameters: &BTreeMap<String, String>) -> (Option<u32>, Option<u32>) {
    let number = |name: &str| parameters.get(name).and_then(|text| text.parse::<u32>().ok());
    let weight = number("weight").map(|weight| {
        let scaled = u64::from(weight) * u64::from(GROUP_WEIGHT) / u64::from(XEN_WEIGHT);
        u32::try_from(scaled).unwrap_or(MAX_GROUP_WEIGHT).clamp(1, MAX_GROUP_WEIGHT)
    });
    (weight, number("cap").filter(|cap| *cap > 0))
}

fn boot(vm: &Vm, kernels: &Path) -> Result<Boot, Failure> {
    if vm.pv_kernel.is_empty() {
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

/// A file in the folder of kernels, and nowhere else.
pub(crate) fn in_folder(folder: &Path, field: &str, name: &str) -> Result<PathBuf, Failure> {
    let plain = Path::new(name).file_name().is_some_and(|file| file == name);
    if plain && !name.starts_with('.') {
        return Ok(folder.join(name));
    }
    Err(codes::invalid_value(field, name, format!("name a file in {}", folder.display())))
}

/// A restart is the service's, which knows when it would be too soon.
fn on_crash(action: OnCrashBehaviour) -> CrashAction {
    match action {
        OnCrashBehaviour::Preserve => CrashAction::Preserve,
        _ => CrashAction::Halt,
    }
}

/// A generation ID from XenAPI's two signed numbers.
fn generation(text: &str) -> Option<Uuid> {
    let (high, low) = text.split_once(':')?;
    let half = |text: &str| text.parse::<i64>().ok().map(i64::cast_unsigned);
    Some(Uuid::from_u64_pair(half(high)?, half(low)?)).filter(|uuid| !uuid.is_nil())
}

/// XenAPI's notation of a generation ID.
pub(crate) fn generation_text(uuid: Uuid) -> String {
    let (high, low) = uuid.as_u64_pair();
    format!("{}:{}", high.cast_signed(), low.cast_signed())
}

fn bytes(number: i64) -> ByteSize {
    ByteSize::new(u64::try_from(number).unwrap_or(0))
}

/// The bytes of host memory that a VM takes beside its own: its worker, and the tables of its pages.
pub(crate) fn overhead(memory: i64) -> i64 {
    const WORKER: i64 = 4 << 20;
    // Eight bytes for each page of 4 KiB.
    WORKER + memory / 512
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
    fn a_kernel_is_in_the_folder_of_kernels_and_nowhere_else() {
        let vm = Vm { pv_kernel: "demo".into(), pv_args: "a=b".into(), ..Vm::default() };
        let config = config(&records(vm), Path::new("/kernels")).unwrap();
        assert!(format!("{:?}", config.boot).contains("/kernels/demo"), "{:?}", config.boot);
        for bad in ["../demo", "/etc/passwd", "a/b", "..", ".hidden", ""] {
            let folder = in_folder(Path::new("/kernels"), "PV_kernel", bad);
            assert_eq!(folder.unwrap_err().code, "INVALID_VALUE", "{bad:?}");
        }
    }

    #[test]
    fn limits_are_read_and_unknown_ones_refused() {
        let parameters = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let parsed = limit("ratelimit", &parameters("kbps", "8"), "kbps").unwrap();
        assert_eq!(parsed, RateLimit::none().bytes_per_second(ByteSize::new(8192)));
        assert_eq!(limit("", &parameters("kbps", "x"), "").unwrap(), RateLimit::none());
        assert_eq!(limit("ratelimit", &parameters("kbps", "8"), "").unwrap_err().code, "VALUE_NOT_SUPPORTED");
        assert_eq!(limit("ratelimit", &parameters("bytes_burst", "0"), "").unwrap_err().code, "INVALID_VALUE");
        assert_eq!(limit("ionice", &BTreeMap::new(), "").unwrap_err().code, "VALUE_NOT_SUPPORTED");
    }

    #[test]
    fn weights_are_scaled_and_generation_ids_are_kept() {
        let parameters = BTreeMap::from([("weight".to_owned(), "512".to_owned()), ("cap".to_owned(), "0".to_owned())]);
        assert_eq!(cpu_limits(&parameters), (Some(200), None));
        let uuid = Uuid::new_v4();
        assert_eq!(generation(&generation_text(uuid)), Some(uuid));
        assert_eq!(generation("0:0"), None);
    }
}
