//! Creates and changes a VM.

use uuid::Uuid;

use super::document::{Document, Object};
use super::fields::{self, NULL};
use super::value::{Record, Value};
use crate::{Error, ErrorKind, Result};

/// The unit of disk sizes in bytes: the size of a chunk, which all importers support.
const UNIT: u64 = 1 << 20;
/// The default network of every XenServer, which an importer finds by name.
const DEFAULT_NETWORK: (&str, &str) = ("Pool-wide network associated with eth0", "xenbr0");
/// The toolstack version in the document: every newer version can import it.
const XAPI: (&str, &str) = ("1", "20");
/// XenServer's virtual hardware for a Linux VM.
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

/// A disk of the VM with the two objects that describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmDisk {
    /// The id of the block device (VBD).
    pub vbd: String,
    /// The id of its contents (VDI), which is the name of their folder in the archive.
    pub vdi: String,
    /// The size in the document, in bytes.
    pub size: u64,
}

impl Document {
    /// A document of one halted VM with this name, without devices, with one vCPU and 512 MiB of memory.
    pub fn new_vm(name: &str) -> Self {
        let mut document = Self::default();
        document.set_producer();
        let seed = Uuid::new_v4().to_string();
        document.push(Object::new(
            "VM",
            "Ref:0",
            [
                ("uuid", Value::text(Uuid::new_v4())),
                ("name_label", Value::text(name)),
                ("user_version", Value::text(1)),
                ("HVM_boot_policy", Value::text("BIOS order")),
                ("HVM_boot_params", Value::map([("order", "cdn"), ("firmware", "bios")])),
                ("domain_type", Value::text("hvm")),
                ("has_vendor_device", Value::Flag(false)),
                ("platform", Value::map(PLATFORM)),
                ("other_config", Value::map([("mac_seed", &seed), ("linux_template", "true")])),
                ("VCPUs_max", Value::text(1)),
                ("VCPUs_at_startup", Value::text(1)),
                ("memory_static_max", Value::text(512 << 20)),
                ("memory_dynamic_max", Value::text(512 << 20)),
                ("memory_dynamic_min", Value::text(512 << 20)),
                ("memory_static_min", Value::text(512 << 20)),
            ],
        ));
        document
    }

    /// Names this crate as the producer of the document, with a toolstack version that every XenServer since 5.6
    /// imports.
    pub fn set_producer(&mut self) {
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
        self.set_version(Record(fields.map(|(name, value)| (name.to_owned(), Value::text(value))).into()));
    }

    /// Sets the number of vCPUs.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn set_vcpus(&mut self, count: u32) -> Result<()> {
        let (vm, count) = (&mut self.vm_mut()?.fields, count.to_string());
        if vm.text("VCPUs_at_startup") != count {
            ["VCPUs_max", "VCPUs_at_startup"].iter().for_each(|field| vm.set(field, Value::text(&count)));
        }
        Ok(())
    }

    /// The memory of the VM in bytes, without ballooning.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn memory(&self) -> Result<u64> {
        let vm = &self.vm()?.fields;
        let sizes = ["memory_dynamic_max", "memory_static_max"].map(|field| vm.number(field));
        Ok(sizes.into_iter().flatten().find(|size| *size > 0).unwrap_or(0))
    }

    /// Sets the memory of the VM in bytes.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn set_memory(&mut self, bytes: u64) -> Result<()> {
        if self.memory()? != bytes {
            let fields = ["memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"];
            let vm = &mut self.vm_mut()?.fields;
            fields.iter().for_each(|field| vm.set(field, Value::text(bytes)));
        }
        Ok(())
    }

    /// Sets the VM generation ID, by which a guest detects that it is a copy.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn set_generation_id(&mut self, id: Uuid) -> Result<()> {
        let (high, low) = id.as_u64_pair();
        let text = format!("{}:{}", high.cast_signed(), low.cast_signed());
        self.vm_mut()?.fields.set("generation_id", Value::text(text));
        Ok(())
    }

    /// Sets the VM to halted and removes its memory image, if any.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn halt(&mut self) -> Result<()> {
        let suspended = self.vm()?.fields.reference("suspend_VDI").to_owned();
        self.remove("VDI", &suspended);
        let vm = &mut self.vm_mut()?.fields;
        vm.set("power_state", Value::text("Halted"));
        vm.set("suspend_VDI", Value::text(NULL));
        Ok(())
    }

    /// The disks of the VM, in the order of their device numbers. A disk used by several devices is listed once.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn disks(&self) -> Result<Vec<VmDisk>> {
        let mut disks: Vec<VmDisk> = Vec::new();
        for vbd in self.block_devices()? {
            let vdi = self.find("VDI", vbd.fields.reference("VDI"));
            let Some(vdi) = vdi.filter(|_| !self.is_disc(vbd)) else { continue };
            if disks.iter().all(|disk| disk.vdi != vdi.id) {
                let size = vdi.fields.number("virtual_size").unwrap_or(0);
                disks.push(VmDisk { vbd: vbd.id.clone(), vdi: vdi.id.clone(), size });
            }
        }
        Ok(disks)
    }

    /// Adds a disk after the others. Its size in bytes is rounded up to whole MiB, which all importers support.
    ///
    /// # Errors
    /// The document does not describe one VM; or the size cannot be rounded up.
    pub fn add_disk(&mut self, name: &str, size: u64) -> Result<VmDisk> {
        let size = Self::rounded(size)?;
        let (vm, index) = (self.vm()?.id.clone(), self.disks()?.len());
        let repository = self.repository();
        let (vdi, uuid) = (self.free_id(), Uuid::new_v4().to_string());
        self.push(Object::new(
            "VDI",
            &vdi,
            [
                ("uuid", Value::text(&uuid)),
                ("name_label", Value::text(name)),
                ("SR", Value::text(repository)),
                ("virtual_size", Value::text(size)),
                ("physical_utilisation", Value::text(size)),
                ("managed", Value::Flag(true)),
                ("location", Value::text(uuid)),
            ],
        ));
        let used: Vec<_> = self.block_devices()?.iter().map(|vbd| vbd.fields.text("userdevice").to_owned()).collect();
        let number = (index..).find(|number| !used.contains(&number.to_string())).unwrap_or(index);
        let vbd = self.free_id();
        self.push(Object::new(
            "VBD",
            &vbd,
            [
                ("uuid", Value::text(Uuid::new_v4())),
                ("VM", Value::text(vm)),
                ("VDI", Value::text(&vdi)),
                ("userdevice", Value::text(number)),
                ("device", Value::text(letters(number))),
                ("bootable", Value::Flag(index == 0)),
                ("other_config", Value::map([("owner", "")])),
            ],
        ));
        if let Some(vdi) = self.object_mut("VDI", &vdi) {
            vdi.fields.set("VBDs", Value::set([&vbd]));
        }
        Ok(VmDisk { vbd, vdi, size })
    }

    /// Sets the size of a disk in bytes. A size that XenServer does not produce is rounded up to whole MiB.
    ///
    /// # Errors
    /// The size cannot be rounded up.
    pub fn resize_disk(&mut self, disk: &VmDisk, size: u64) -> Result<VmDisk> {
        let size = if size == disk.size && size >= UNIT { size } else { Self::rounded(size)? };
        if let Some(vdi) = self.object_mut("VDI", &disk.vdi) {
            vdi.fields.set("virtual_size", Value::text(size));
        }
        Ok(VmDisk { size, ..disk.clone() })
    }

    /// Removes a disk and its device.
    pub fn remove_disk(&mut self, disk: &VmDisk) {
        self.remove("VBD", &disk.vbd);
        self.remove("VDI", &disk.vdi);
    }

    fn rounded(size: u64) -> Result<u64> {
        size.max(1).checked_next_multiple_of(UNIT).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, format!("a disk cannot have {size} bytes"))
                .with_remedy("make it smaller")
        })
    }

    /// The storage repository of new disks.
    fn repository(&mut self) -> String {
        let user = |sr: &&Object| !sr.fields.text("content_type").eq_ignore_ascii_case("iso");
        if let Some(sr) = self.of_class("SR").find(user) {
            return sr.id.clone();
        }
        let id = self.free_id();
        self.push(Object::new(
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

    /// Adds a network interface (VIF) after the others, and returns its id. It is on the network named `bridge`, or by
    /// default on the one that every XenServer has.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn add_network_interface(&mut self, bridge: Option<&str>) -> Result<String> {
        let (vm, index) = (self.vm()?.id.clone(), self.network_interfaces().len());
        let network = self.network(bridge);
        let id = self.free_id();
        self.push(Object::new(
            "VIF",
            &id,
            [
                ("uuid", Value::text(Uuid::new_v4())),
                ("device", Value::text(index)),
                ("network", Value::text(network)),
                ("VM", Value::text(vm)),
                ("MTU", Value::text(1500)),
                ("MAC_autogenerated", Value::Flag(true)),
            ],
        ));
        Ok(id)
    }

    fn network(&mut self, bridge: Option<&str>) -> String {
        let (name, bridge) = bridge.map_or(DEFAULT_NETWORK, |bridge| (bridge, bridge));
        if let Some(network) = self.of_class("network").find(|other| other.fields.text("name_label") == name) {
            return network.id.clone();
        }
        let id = self.free_id();
        self.push(Object::new(
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

    /// Connects the VM with its devices, and adds the fields that an importer requires. Call it after all other
    /// changes.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn complete(&mut self) -> Result<()> {
        let vm = self.vm()?.id.clone();
        for (class, field) in [("VBD", "VBDs"), ("VIF", "VIFs")] {
            let ids: Vec<_> = self.of_class(class).map(|object| object.id.clone()).collect();
            self.vm_mut()?.fields.set(field, Value::set(ids));
            let of_class = self.objects.iter_mut().filter(|object| object.class == class);
            for object in of_class.filter(|object| object.fields.reference("VM").is_empty()) {
                object.fields.set("VM", Value::text(&vm));
            }
        }
        self.objects.iter_mut().for_each(fields::complete);
        Ok(())
    }
}

/// The device name for a disk number: `xvda` is the first.
fn letters(number: usize) -> String {
    match u8::try_from(number) {
        Ok(number @ 0..26) => format!("xvd{}", char::from(b'a' + number)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Adds a disk to objects, and returns its description.
    fn with_disk<const N: usize>(objects: [Object; N]) -> (Document, VmDisk) {
        let mut document = Document::default();
        document.objects = objects.into();
        let disk = document.add_disk("disk", MIB).unwrap();
        document.complete().unwrap();
        (Document::parse(document.to_xml().as_bytes()).unwrap(), disk)
    }

    #[test]
    fn a_new_vm_has_what_it_was_given() {
        let mut document = Document::new_vm("web");
        document.set_vcpus(3).unwrap();
        document.set_memory(3 << 30).unwrap();
        let disks = [1, 5 * MIB].map(|size| document.add_disk("disk", size).unwrap());
        let nics = [None, Some("br7"), None].map(|bridge| document.add_network_interface(bridge).unwrap());
        document.complete().unwrap();
        let read = Document::parse(document.to_xml().as_bytes()).unwrap();
        assert_eq!(read.disks().unwrap(), disks);
        assert_eq!((disks[0].size, disks[1].size), (MIB, 5 * MIB));
        assert_eq!(read.network_interfaces().iter().map(|vif| vif.id.as_str()).collect::<Vec<_>>(), nics);
        assert_eq!(read.of_class("network").count(), 2);
        assert_eq!((read.memory().unwrap(), read.vm().unwrap().fields.number("VCPUs_max")), (3 << 30, Some(3)));
        assert!(document.add_disk("disk", u64::MAX).is_err());
    }

    #[test]
    fn a_disk_that_xenserver_wrote_keeps_its_size_and_another_is_rounded() {
        let mut document = Document::new_vm("vm");
        document.push(Object::new("VDI", "Ref:9", [("virtual_size", Value::text(MIB + 512))]));
        document.push(Object::new("VBD", "Ref:8", [("VDI", Value::text("Ref:9"))]));
        let disk = document.disks().unwrap().remove(0);
        assert_eq!(document.resize_disk(&disk, MIB + 512).unwrap().size, MIB + 512);
        assert_eq!(document.resize_disk(&disk, MIB + 1024).unwrap().size, 2 * MIB);
        assert_eq!(document.resize_disk(&disk, 512).unwrap().size, MIB);
        assert_eq!(document.disks().unwrap()[0].size, MIB);
    }

    #[test]
    fn a_new_disk_is_not_what_a_reference_to_nothing_means() {
        let drive = [("type", Value::text("CD")), ("VM", Value::text("Ref:0")), ("VDI", Value::text(" Ref:2"))];
        // The disk gets the first free id.
        let (document, disk) = with_disk([
            Object::new("VM", "Ref:0", []),
            Object::new("SR", "Ref:0", []),
            Object::new("VBD", "Ref:1", drive),
        ]);
        assert_eq!(document.find("VDI", "Ref:2"), None);
        assert!(document.find("VDI", &disk.vdi).is_some());
    }

    #[test]
    fn there_is_an_id_after_the_last() {
        let last = format!("Ref:{}", u64::MAX);
        let (document, disk) = with_disk([
            Object::new("VM", "Ref:0", []),
            Object::new("VDI", &last, [("virtual_size", Value::text(MIB))]),
        ]);
        assert_ne!(disk.vdi, last);
        assert_eq!(document.of_class("VDI").count(), 2);
    }

    #[test]
    fn a_device_that_names_no_vm_stays_with_the_vm() {
        let (document, _) = with_disk([
            Object::new("VM", "Ref:0", []),
            Object::new("VBD", "Ref:1", [("VDI", Value::text("Ref:2"))]),
            Object::new("VDI", "Ref:2", [("virtual_size", Value::text(MIB))]),
        ]);
        assert_eq!(document.disks().unwrap().len(), 2);
        let vm = document.find("VBD", "Ref:1").map(|vbd| vbd.fields.text("VM"));
        assert_eq!(vm, Some("Ref:0"));
        assert!(document.expected().unwrap().iter().all(|disk| disk.required));
    }
}
