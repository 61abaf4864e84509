//! From a VM's configuration to the objects of an appliance.

use uuid::Uuid;

use super::document::{Document, Object};
use super::fields::NULL;
use super::value::{Record, Value};
use crate::Result;
use crate::config::{Boot, Nic, VmConfig};
use crate::net::MacAddress;
use crate::xva::appliance::{block_devices, memory, network_interfaces};
use crate::xva::policy;

/// Disks have a whole number of these: the size of a chunk, which all importers can place.
const UNIT: u64 = 1 << 20;
/// The network that every XenServer has, to which an importer connects by name.
const DEFAULT_NETWORK: (&str, &str) = ("Pool-wide network associated with eth0", "xenbr0");
/// The version of the toolstack that we claim to be: whatever is newer reads what it writes.
const XAPI: (&str, &str) = ("1", "20");

/// A disk as it will be in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The id of its VDI object.
    pub(crate) id: String,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// The objects of a VM whose disks have these capacities in bytes, and where its disks go, in the order of the
/// configuration. What `original` says beyond the configuration is kept.
pub(crate) fn compose(
    config: &VmConfig,
    capacities: &[u64],
    original: Option<Document>,
) -> Result<(Document, Vec<Slot>)> {
    let mut document = match original {
        Some(document) => document,
        None => fresh(),
    };
    document.set_version(version());
    let mut composer = Composer { vm: document.vm()?.id.clone(), document };
    composer.machine(config)?;
    let slots = composer.disks(config, capacities)?;
    composer.nics(config)?;
    let mut document = composer.document;
    document.complete();
    Ok((document, slots))
}

struct Composer {
    document: Document,
    /// The id of the VM object.
    vm: String,
}

impl Composer {
    fn set(&mut self, class: &str, id: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) {
        let object = self.document.objects.iter_mut().find(|object| object.class == class && object.id == id);
        if let Some(object) = object {
            fields.into_iter().for_each(|(name, value)| object.fields.set(name, value));
        }
    }

    fn machine(&mut self, config: &VmConfig) -> Result<()> {
        let vm = self.vm.clone();
        let suspended = self.document.vm()?.fields.reference("suspend_VDI").to_owned();
        self.document.objects.retain(|object| object.class != "VDI" || object.id != suspended);
        let vcpus = config.cpus.count.to_string();
        let (high, low) = config.generation_id.as_u64_pair();
        self.set(
            "VM",
            &vm,
            [
                ("uuid", Value::text(config.uuid)),
                ("name_label", Value::text(&config.name)),
                ("name_description", Value::text(&config.description)),
                ("power_state", Value::text("Halted")),
                ("suspend_VDI", Value::text(NULL)),
                ("generation_id", Value::text(format!("{}:{}", high.cast_signed(), low.cast_signed()))),
            ],
        );
        if policy::crash_action(&self.document.vm()?.fields) != Some(config.on_crash) {
            self.set("VM", &vm, [("actions_after_crash", Value::text(policy::crash_text(config.on_crash)))]);
        }
        if self.document.vm()?.fields.text("VCPUs_at_startup") != vcpus {
            self.set("VM", &vm, ["VCPUs_max", "VCPUs_at_startup"].map(|field| (field, Value::text(&vcpus))));
        }
        if memory(&self.document)? != config.memory.bytes() {
            let fields = ["memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"];
            self.set("VM", &vm, fields.map(|field| (field, Value::text(config.memory.bytes()))));
        }
        Ok(())
    }

    fn disks(&mut self, config: &VmConfig, capacities: &[u64]) -> Result<Vec<Slot>> {
        let mut known = self.known_disks()?;
        let spare = known.split_off(known.len().min(capacities.len()));
        for (vbd, slot) in &spare {
            self.remove("VBD", vbd);
            self.remove("VDI", &slot.id);
        }
        let boot = match config.boot {
            Boot::Disk { disk, .. } => Some(disk),
            Boot::Kernel { .. } => None,
        };
        // What the flags of the original say already need not be said another way.
        let flagged = known.iter().position(|(vbd, _)| self.is_bootable(vbd)).unwrap_or(0);
        let as_before = !known.is_empty() && boot == Some(flagged);
        let mut slots = Vec::new();
        for (index, (disk, capacity)) in config.disks.iter().zip(capacities).enumerate() {
            let (vbd, slot) = match known.get(index) {
                // As it was, where XenServer could have written it.
                Some((vbd, slot)) if slot.size == *capacity && *capacity >= UNIT => (vbd.clone(), slot.clone()),
                Some((vbd, slot)) => (vbd.clone(), Slot { size: rounded(*capacity), id: slot.id.clone() }),
                None => self.new_disk(config, index, rounded(*capacity))?,
            };
            self.set("VDI", &slot.id, [("virtual_size", Value::text(slot.size))]);
            self.set("VBD", &vbd, [("mode", Value::text(if disk.read_only { "RO" } else { "RW" }))]);
            if !as_before || index >= known.len() {
                self.set("VBD", &vbd, [("bootable", Value::Flag(boot == Some(index)))]);
            }
            slots.push(slot);
        }
        self.link("VBD", "VBDs");
        Ok(slots)
    }

    fn is_bootable(&self, vbd: &str) -> bool {
        self.document.find("VBD", vbd).is_some_and(|vbd| vbd.fields.flag("bootable"))
    }

    /// The devices and disks of the original, in the order of a configuration that was made of it.
    fn known_disks(&self) -> Result<Vec<(String, Slot)>> {
        let mut known: Vec<(String, Slot)> = Vec::new();
        for vbd in block_devices(&self.document)? {
            let vdi = self.document.find("VDI", vbd.fields.reference("VDI"));
            let Some(vdi) = vdi.filter(|_| !self.document.is_disc(vbd)) else { continue };
            if known.iter().all(|(_, slot)| slot.id != vdi.id) {
                let slot = Slot { id: vdi.id.clone(), size: vdi.fields.number("virtual_size").unwrap_or(0) };
                known.push((vbd.id.clone(), slot));
            }
        }
        Ok(known)
    }

    fn new_disk(&mut self, config: &VmConfig, index: usize, size: u64) -> Result<(String, Slot)> {
        let repository = self.repository();
        let (vdi, uuid) = (self.document.free_id(), Uuid::new_v4().to_string());
        self.document.objects.push(Object::new(
            "VDI",
            &vdi,
            [
                ("uuid", Value::text(&uuid)),
                ("name_label", Value::text(format!("{} {index}", config.name))),
                ("SR", Value::text(repository)),
                ("physical_utilisation", Value::text(size)),
                ("managed", Value::Flag(true)),
                ("location", Value::text(uuid)),
            ],
        ));
        let used: Vec<_> = self.document.block_devices()?.map(|vbd| vbd.fields.text("userdevice").to_owned()).collect();
        let number = (index..).find(|number| !used.contains(&number.to_string())).unwrap_or(index);
        let vbd = self.document.free_id();
        self.document.objects.push(Object::new(
            "VBD",
            &vbd,
            [
                ("uuid", Value::text(Uuid::new_v4())),
                ("VM", Value::text(&self.vm)),
                ("VDI", Value::text(&vdi)),
                ("userdevice", Value::text(number)),
                ("device", Value::text(letters(number))),
                ("other_config", Value::map([("owner", "")])),
            ],
        ));
        self.set("VDI", &vdi, [("VBDs", Value::set([&vbd]))]);
        Ok((vbd, Slot { id: vdi, size }))
    }

    /// The storage repository that new disks are said to come from.
    fn repository(&mut self) -> String {
        let user = |sr: &&Object| !sr.fields.text("content_type").eq_ignore_ascii_case("iso");
        if let Some(sr) = self.document.of_class("SR").find(user) {
            return sr.id.clone();
        }
        let id = self.document.free_id();
        self.document.objects.push(Object::new(
            "SR",
            &id,
            [
                ("uuid", Value::text(Uuid::new_v4())),
                ("name_label", Value::text("Local storage")),
                ("type", Value::text("ext")),
                ("content_type", Value::text("user")),
            ],
        ));
        id
    }

    fn nics(&mut self, config: &VmConfig) -> Result<()> {
        let known: Vec<_> = network_interfaces(&self.document).into_iter().map(|vif| vif.id.clone()).collect();
        for spare in known.iter().skip(config.nics.len()) {
            self.remove("VIF", spare);
        }
        for (index, nic) in config.nics.iter().enumerate() {
            let vif = match known.get(index) {
                Some(vif) => vif.clone(),
                None => self.new_nic(index, nic),
            };
            let mac = nic.mac.unwrap_or_else(MacAddress::random);
            self.set("VIF", &vif, [("MAC", Value::text(mac)), ("MAC_autogenerated", Value::Flag(false))]);
            if let Some(mtu) = nic.mtu {
                self.set("VIF", &vif, [("MTU", Value::text(mtu))]);
            }
            let limit = self.document.find("VIF", &vif).map(|vif| policy::transmit_limit(&vif.fields));
            // Not where the original has another kind of limit, which is as good as it was.
            if limit.is_some_and(|limit| limit.bytes_per_second != nic.limit.transmit.bytes_per_second) {
                self.set("VIF", &vif, policy::transmit_fields(&nic.limit.transmit));
            }
        }
        self.link("VIF", "VIFs");
        Ok(())
    }

    fn new_nic(&mut self, index: usize, nic: &Nic) -> String {
        let network = self.network(nic);
        let id = self.document.free_id();
        self.document.objects.push(Object::new(
            "VIF",
            &id,
            [
                ("uuid", Value::text(Uuid::new_v4())),
                ("device", Value::text(index)),
                ("network", Value::text(network)),
                ("VM", Value::text(&self.vm)),
                ("MTU", Value::text(1500)),
            ],
        ));
        id
    }

    /// The network of a NIC: called as its bridge, or the one that every host has.
    fn network(&mut self, nic: &Nic) -> String {
        let (name, bridge) = nic.bridge.as_deref().map_or(DEFAULT_NETWORK, |bridge| (bridge, bridge));
        if let Some(network) = self.document.of_class("network").find(|other| other.fields.text("name_label") == name) {
            return network.id.clone();
        }
        let id = self.document.free_id();
        self.document.objects.push(Object::new(
            "network",
            &id,
            [
                ("uuid", Value::text(Uuid::new_v4())),
                ("name_label", Value::text(name)),
                ("bridge", Value::text(bridge)),
                ("MTU", Value::text(1500)),
            ],
        ));
        id
    }

    fn remove(&mut self, class: &str, id: &str) {
        self.document.objects.retain(|object| object.class != class || object.id != id);
    }

    /// Lists all objects of a class in a field of the VM, and the VM in those that did not name it.
    fn link(&mut self, class: &str, field: &'static str) {
        let ids: Vec<_> = self.document.of_class(class).map(|object| object.id.clone()).collect();
        let vm = self.vm.clone();
        let of_class = self.document.objects.iter_mut().filter(|object| object.class == class);
        for object in of_class.filter(|object| object.fields.reference("VM").is_empty()) {
            object.fields.set("VM", Value::text(&vm));
        }
        self.set("VM", &vm, [(field, Value::set(ids))]);
    }
}

fn rounded(capacity: u64) -> u64 {
    capacity.max(1).next_multiple_of(UNIT)
}

/// The device name of a disk number: `xvda` is the first.
fn letters(number: usize) -> String {
    match u8::try_from(number) {
        Ok(number @ 0..26) => format!("xvd{}", char::from(b'a' + number)),
        _ => String::new(),
    }
}

/// A VM that nobody described before.
fn fresh() -> Document {
    let mut document = Document::new(version());
    let seed = Uuid::new_v4().to_string();
    document.objects.push(Object::new(
        "VM",
        "Ref:0",
        [
            ("user_version", Value::text(1)),
            ("HVM_boot_policy", Value::text("BIOS order")),
            ("HVM_boot_params", Value::map([("order", "cdn"), ("firmware", "bios")])),
            ("domain_type", Value::text("hvm")),
            ("has_vendor_device", Value::Flag(false)),
            ("platform", Value::map(PLATFORM)),
            ("other_config", Value::map([("mac_seed", &seed), ("linux_template", "true")])),
        ],
    ));
    document
}

/// The hardware that XenServer gives a Linux VM.
const PLATFORM: [(&str, &str); 8] = [
    ("acpi", "1"),
    ("apic", "true"),
    ("nx", "true"),
    ("pae", "true"),
    ("viridian", "false"),
    ("vga", "std"),
    ("videoram", "8"),
    ("device-model", "qemu-upstream-compat"),
];

fn version() -> Record {
    let fields = [
        ("hostname", "localhost"),
        ("date", "1970-01-01"),
        ("product_version", env!("CARGO_PKG_VERSION")),
        ("product_brand", "xvirt"),
        ("build_number", env!("CARGO_PKG_VERSION")),
        ("xapi_major", XAPI.0),
        ("xapi_minor", XAPI.1),
        ("export_vsn", "2"),
    ];
    Record(fields.map(|(name, value)| (name.to_owned(), Value::text(value))).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Disk;

    /// Composes a VM with one disk out of objects, and reads what was written of it.
    fn composed<const N: usize>(objects: [Object; N]) -> (Document, Slot) {
        let mut original = Document::new(version());
        original.objects = objects.into();
        let config = VmConfig::new("vm").disk(Disk::raw("disk"));
        let (document, slots) = compose(&config, &[UNIT], Some(original)).unwrap();
        (Document::parse(document.to_xml().as_bytes()).unwrap(), slots[0].clone())
    }

    #[test]
    fn a_device_that_names_no_vm_stays_with_the_vm() {
        let (document, slot) = composed([
            Object::new("VM", "Ref:0", []),
            Object::new("VBD", "Ref:1", [("VDI", Value::text("Ref:2"))]),
            Object::new("VDI", "Ref:2", [("virtual_size", Value::text(UNIT))]),
        ]);
        assert_eq!(slot, Slot { id: "Ref:2".to_owned(), size: UNIT });
        assert_eq!(document.block_devices().unwrap().count(), 1);
        assert!(document.expected().unwrap()[0].required);
    }

    #[test]
    fn a_new_disk_is_not_what_a_reference_to_nothing_means() {
        let drive = [("type", Value::text("CD")), ("VM", Value::text("Ref:0")), ("VDI", Value::text(" Ref:2"))];
        // The disk gets the first free id, because there is a place for it.
        let (document, slot) = composed([
            Object::new("VM", "Ref:0", []),
            Object::new("SR", "Ref:0", []),
            Object::new("VBD", "Ref:1", drive),
        ]);
        assert_eq!(document.find("VDI", "Ref:2"), None);
        assert!(document.find("VDI", &slot.id).is_some());
    }

    #[test]
    fn there_is_an_id_after_the_last() {
        let last = format!("Ref:{}", u64::MAX);
        let (document, slot) = composed([
            Object::new("VM", "Ref:0", []),
            Object::new("VDI", &last, [("virtual_size", Value::text(UNIT))]),
        ]);
        assert_ne!(slot.id, last);
        assert_eq!(document.of_class("VDI").count(), 2);
    }
}
