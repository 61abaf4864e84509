//! The configuration of a VM.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Balloon, Boot, ByteSize, CpuBaseline, CpuConfig, CpuidMask, CrashAction, Descriptor, Disk, MemoryBacking, Nic,
    Vsock, check_labels, invalid,
};
use crate::Result;

const DEFAULT_MEMORY: ByteSize = ByteSize::mib(512);
/// The minimum memory of a VM.
pub(crate) const MIN_MEMORY: ByteSize = ByteSize::mib(2);
/// The unit of memory sizes in bytes.
pub(crate) const PAGE: u64 = 4096;
const HUGE_PAGE: u64 = 2 << 20;
/// The slots of PCI bus 0, without the host bridge and the devices of which a VM has at most one.
pub(crate) const MAX_DEVICES: usize = 27;

/// The configuration of a VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VmConfig {
    /// The name for users.
    pub name: String,
    /// The description for users.
    #[serde(default)]
    pub description: String,
    /// Keys and values by which programs find the VM; xvirt does not interpret them. At most 64. A key has 1 to 63
    /// bytes: ASCII letters and digits, `-`, `.`, `_` and `/`. A value has at most 1024 bytes, and no control
    /// characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The unique identifier; random by default.
    #[serde(default = "Uuid::new_v4")]
    pub uuid: Uuid,
    /// The VM generation ID, random by default: it changes whenever the VM becomes a copy of another or is reverted.
    #[serde(default = "Uuid::new_v4")]
    pub generation_id: Uuid,
    /// Its vCPUs.
    #[serde(default)]
    pub cpus: CpuConfig,
    /// Its memory, a multiple of 4 KiB and at least 2 MiB; 512 MiB by default.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// The host memory that backs its memory.
    #[serde(default)]
    pub memory_backing: MemoryBacking,
    /// Its memory balloon.
    #[serde(default)]
    pub balloon: Balloon,
    /// What to do when the guest crashes, by a triple fault or by a kernel panic without a crash kernel. By default it
    /// is halted.
    #[serde(default)]
    pub on_crash: CrashAction,
    /// What to do when the guest's watchdog expires. By default it is restarted.
    #[serde(default = "default_on_watchdog")]
    pub on_watchdog: CrashAction,
    /// What it boots; by default what its first disk names.
    #[serde(default)]
    pub boot: Boot,
    /// Its disks, in the order the guest sees them.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// Its network interfaces, in the order the guest sees them.
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// Its vsock device.
    #[serde(default)]
    pub vsock: Option<Vsock>,
    /// Whether its device threads run under seccomp filters. The thread of a disk whose backend belongs to the program
    /// has none.
    #[serde(default = "default_seccomp")]
    pub seccomp: bool,
}

fn default_memory() -> ByteSize {
    DEFAULT_MEMORY
}

fn default_on_watchdog() -> CrashAction {
    CrashAction::Restart
}

fn default_seccomp() -> bool {
    cfg!(feature = "seccomp")
}

impl VmConfig {
    /// A VM with one vCPU and 512 MiB of memory that boots from its first disk, which must be added.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            labels: BTreeMap::new(),
            uuid: Uuid::new_v4(),
            generation_id: Uuid::new_v4(),
            cpus: CpuConfig::default(),
            memory: DEFAULT_MEMORY,
            memory_backing: MemoryBacking::default(),
            balloon: Balloon::default(),
            on_crash: CrashAction::default(),
            on_watchdog: default_on_watchdog(),
            boot: Boot::default(),
            disks: Vec::new(),
            nics: Vec::new(),
            vsock: None,
            seccomp: default_seccomp(),
        }
    }

    /// Sets the description for users.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Sets a label.
    ///
    /// ```
    /// use xvirt_core::config::VmConfig;
    ///
    /// let config = VmConfig::new("web-1").label("example.org/tenant", "blue").label("role", "web");
    /// assert_eq!(config.labels["role"], "web");
    /// ```
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Sets the UUID, which is random by default.
    #[must_use]
    pub fn uuid(mut self, uuid: Uuid) -> Self {
        self.uuid = uuid;
        self
    }

    /// Sets the number of vCPUs.
    #[must_use]
    pub fn vcpus(mut self, count: u32) -> Self {
        self.cpus.count = count;
        self
    }

    /// Sets the number of vCPUs per core.
    #[must_use]
    pub fn threads_per_core(mut self, count: u32) -> Self {
        self.cpus.threads_per_core = count;
        self
    }

    /// Limits the CPU features of the VM to those that several hosts have in common, so that each of them can resume
    /// it.
    #[must_use]
    pub fn cpu_baseline(mut self, baseline: CpuBaseline) -> Self {
        self.cpus.baseline = Some(baseline);
        self
    }

    /// Hides CPU features from the guest.
    #[must_use]
    pub fn cpuid_mask(mut self, mask: impl IntoIterator<Item = CpuidMask>) -> Self {
        self.cpus.mask.extend(mask);
        self
    }

    /// Sets the CPU weight for VMs that compete for CPU time, 1 to 10000; the default is 100.
    #[must_use]
    pub fn cpu_weight(mut self, weight: u32) -> Self {
        self.cpus.limit.weight = Some(weight);
        self
    }

    /// Sets the cap on host CPU time, in percent of one CPU; 0 means no cap.
    #[must_use]
    pub fn cpu_cap(mut self, percent: u32) -> Self {
        self.cpus.limit.cap = percent;
        self
    }

    /// Sets the amount of memory.
    #[must_use]
    pub fn memory(mut self, size: ByteSize) -> Self {
        self.memory = size;
        self
    }

    /// Backs its memory with huge pages of 2 MiB.
    #[must_use]
    pub fn huge_pages(mut self) -> Self {
        self.memory_backing.huge_pages = true;
        self
    }

    /// Backs its memory with a shareable memory file, whose descriptor a local hand-over passes to another process:
    /// [`MemoryTransfer::LocalHandOver`](crate::migrate::MemoryTransfer::LocalHandOver).
    ///
    /// Linux gives private memory huge pages by itself, but memory files only if
    /// `/sys/kernel/mm/transparent_hugepage/shmem_enabled` is `advise` or `always`; it is usually `never`. Without huge
    /// pages, a guest's accesses to memory are slower: by 3 percent where this was measured, on a KVM that emulates the
    /// guest and hides most of the difference (`docs/migration.md`).
    #[must_use]
    pub fn shared_memory(mut self) -> Self {
        self.memory_backing.shared = true;
        self
    }

    /// Sets an open file that holds the memory: a memory file (memfd_create(2)), or a file in a hugetlbfs if
    /// [`huge_pages`] is set too. Other programs may map the file as well.
    ///
    /// The file starts with the memory below 3 GiB, directly followed by the rest. It is not cleared: its contents are
    /// the memory at power-on, and stay when the VM halts. The file must not shrink while the VM runs, because an
    /// access beyond its end kills the process (`SIGBUS`); seal it with `F_SEAL_SHRINK`. Two running VMs must not use
    /// the same file; this is not checked.
    ///
    /// A start fails with [`InvalidConfig`](crate::ErrorKind::InvalidConfig) if it is not a regular file, is not open
    /// for reading and writing, is sealed against writing, is smaller than the memory, or does not have the page size
    /// that [`huge_pages`] says.
    ///
    /// [`huge_pages`]: Self::huge_pages
    #[must_use]
    pub fn memory_file(mut self, file: impl Into<Descriptor>) -> Self {
        self.memory_backing.file = Some(file.into());
        self
    }

    /// Includes its memory in core dumps of this process, for debugging; by default it is excluded.
    #[must_use]
    pub fn memory_in_core_dumps(mut self) -> Self {
        self.memory_backing.core_dumps = true;
        self
    }

    /// Sets the initial size of the guest's memory.
    #[must_use]
    pub fn memory_target(mut self, target: ByteSize) -> Self {
        self.balloon.target = Some(target);
        self
    }

    /// Makes the guest send memory statistics every `seconds` seconds.
    #[must_use]
    pub fn memory_statistics_every(mut self, seconds: u32) -> Self {
        self.balloon.statistics_seconds = seconds;
        self
    }

    /// Leaves out the memory balloon.
    #[must_use]
    pub fn without_balloon(mut self) -> Self {
        self.balloon.enabled = false;
        self
    }

    /// Sets what to do when the guest crashes.
    #[must_use]
    pub fn on_crash(mut self, action: CrashAction) -> Self {
        self.on_crash = action;
        self
    }

    /// Sets what to do when the guest's watchdog expires.
    #[must_use]
    pub fn on_watchdog(mut self, action: CrashAction) -> Self {
        self.on_watchdog = action;
        self
    }

    /// Sets what the VM boots.
    #[must_use]
    pub fn boot(mut self, boot: Boot) -> Self {
        self.boot = boot;
        self
    }

    /// Adds a disk.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// Adds a network interface.
    #[must_use]
    pub fn nic(mut self, nic: Nic) -> Self {
        self.nics.push(nic);
        self
    }

    /// Adds a vsock device.
    #[must_use]
    pub fn vsock(mut self, vsock: Vsock) -> Self {
        self.vsock = Some(vsock);
        self
    }

    /// Sets whether its device threads run under seccomp filters. The default is true, unless this crate was built
    /// without seccomp. A system call that such a thread does not need then fails with `EPERM`. The program's log
    /// subscriber runs on these threads too: it can write to open files, but cannot open any.
    #[must_use]
    pub fn seccomp(mut self, on: bool) -> Self {
        self.seccomp = on;
        self
    }

    /// Checks everything that does not depend on the host.
    ///
    /// # Errors
    /// A field is invalid; the message names it and the valid values.
    pub fn check(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(invalid("the VM has no name", "give it a name"));
        }
        check_labels(&self.labels)?;
        self.cpus.check()?;
        self.check_memory()?;
        self.balloon.check(self.memory, &self.memory_backing)?;
        self.check_disks()?;
        self.nics.iter().try_for_each(Nic::check)?;
        self.vsock.iter().try_for_each(Vsock::check)?;
        self.check_devices()
    }

    fn check_memory(&self) -> Result<()> {
        let unit = if self.memory_backing.huge_pages { HUGE_PAGE } else { PAGE };
        if self.memory < MIN_MEMORY || !self.memory.bytes().is_multiple_of(unit) {
            return Err(invalid(
                format!("a VM cannot have {} of memory", self.memory),
                &format!("use at least {MIN_MEMORY}, in steps of {}", ByteSize::new(unit)),
            ));
        }
        Ok(())
    }

    fn check_disks(&self) -> Result<()> {
        self.disks.iter().enumerate().try_for_each(|(index, disk)| {
            disk.check()?;
            self.disks.iter().take(index).try_for_each(|before| disk.check_beside(before))
        })
    }

    fn check_devices(&self) -> Result<()> {
        if self.disks.len() + self.nics.len() > MAX_DEVICES {
            return Err(invalid(
                format!("{} disks and {} network interfaces are too many", self.disks.len(), self.nics.len()),
                &format!("a VM can have {MAX_DEVICES} of both together"),
            ));
        }
        match self.boot {
            Boot::Disk { disk, .. } if disk >= self.disks.len() => Err(invalid(
                format!("the VM boots from disk {disk}, but has {} disks", self.disks.len()),
                "add the disk, or give a kernel with Boot::kernel",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel() -> Boot {
        Boot::kernel("vmlinuz")
    }

    fn refused(config: VmConfig) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn mistakes_are_named_with_their_remedy() {
        let base = || VmConfig::new("a").boot(kernel());
        assert_eq!(refused(VmConfig::new("").boot(kernel())), "the VM has no name; give it a name");
        assert_eq!(
            refused(base().label("a b", "")),
            "\"a b\" cannot be the key of a label; use letters and digits of ASCII, dashes, dots, underscores and slashes"
        );
        assert_eq!(refused(base().vcpus(0)), "a VM cannot have 0 vCPUs; use 1 to 254");
        for (vcpus, threads) in [(3, 2), (6, 3), (2, 4), (2, 0)] {
            assert_eq!(
                refused(base().vcpus(vcpus).threads_per_core(threads)),
                format!(
                    "{vcpus} vCPUs cannot be divided into cores of {threads}; \
                     choose a power of two for threads_per_core that divides the number of vCPUs"
                )
            );
        }
        base().vcpus(6).threads_per_core(2).check().unwrap();
        assert_eq!(refused(base().cpu_weight(0)), "a VM cannot have a CPU weight of 0; use 1 to 10000; 100 is usual");
        assert_eq!(
            refused(base().cpu_cap(25_401)),
            "a VM cannot have a CPU cap of 25401 percent; use 1 to 25400, where 100 is one processor, or 0 for no cap"
        );
        assert_eq!(
            refused(base().memory(ByteSize::new(5_000_000))),
            "a VM cannot have 5000000 bytes of memory; use at least 2 MiB, in steps of 4 KiB"
        );
        assert_eq!(
            refused(base().huge_pages().memory(ByteSize::mib(3))),
            "a VM cannot have 3 MiB of memory; use at least 2 MiB, in steps of 2 MiB"
        );
        assert_eq!(
            refused(base().memory_target(ByteSize::mib(513))),
            "a VM of 512 MiB cannot have a memory target of 513 MiB; use a target between 2 MiB and 512 MiB, in steps of 4 KiB"
        );
        assert_eq!(
            refused(base().memory_target(ByteSize::mib(256)).without_balloon()),
            "a VM without a balloon cannot have a memory target; enable its balloon"
        );
        assert_eq!(
            refused(base().memory_target(ByteSize::mib(256)).huge_pages()),
            "the memory target 256 MiB cannot be reached, because reserved huge pages stay reserved; \
             turn huge pages off for this VM: the host uses transparent ones where it can"
        );
        assert_eq!(
            refused(VmConfig::new("a")),
            "the VM boots from disk 0, but has 0 disks; add the disk, or give a kernel with Boot::kernel"
        );
        assert_eq!(
            refused(base().disk(Disk::raw("d").serial("x".repeat(21)))),
            "the serial number of disk d has 21 bytes; use at most 20 bytes"
        );
        assert_eq!(
            refused(base().disk(Disk::raw("d").queues(0))),
            "disk d has an invalid number of queues; use 1 to 16 queues"
        );
        assert_eq!(
            refused(base().nic(Nic::new_tap().mtu(60))),
            "an MTU below 68 bytes cannot carry IPv4; use an MTU between 68 and 65535"
        );
        assert_eq!(
            refused(base().disk(Disk::raw("d")).disk(Disk::raw("d").read_only())),
            "disk image d is used twice by the VM; \
             leave one of them out, make both read-only, or give each an image of its own: disk::overlay"
        );
        base().disk(Disk::raw("d").read_only()).disk(Disk::raw("d").read_only()).check().unwrap();
        for address in ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"] {
            let text = refused(base().nic(Nic::new_tap().mac(address.parse().unwrap())));
            assert!(text.starts_with(&format!("a NIC cannot have the MAC address {address}; use one that")), "{text}");
        }
        assert_eq!(
            refused(base().vsock(Vsock::new(2, "s"))),
            "2 is not a valid CID for a guest; use a CID from 3 to 4294967294"
        );
        assert_eq!(
            refused(base().vsock(Vsock::new(3, "s".repeat(97)))),
            "a vsock path of 97 bytes is not valid for a socket; use a path of 1 to 96 bytes"
        );
        let many = (0..28).fold(base(), |config, _| config.nic(Nic::new_tap()));
        assert_eq!(refused(many), "0 disks and 28 network interfaces are too many; a VM can have 27 of both together");
    }

    #[test]
    fn a_configuration_survives_json() {
        let config = VmConfig::new("web-1")
            .vcpus(2)
            .disk(Disk::qcow2("root.qcow2").serial("root"))
            .nic(Nic::tap("t0"))
            .vsock(Vsock::new(3, "v"))
            .label("role", "web");
        let json = serde_json::to_string(&config).unwrap();
        let back: VmConfig = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), json);
        assert_eq!(back.memory, ByteSize::mib(512));
    }

    #[test]
    fn a_short_configuration_takes_the_defaults() {
        let config: VmConfig =
            serde_json::from_str(r#"{"name":"a","memory":"1GiB","boot":{"kernel":{"kernel":{"path":"k"}}}}"#).unwrap();
        assert_eq!((config.memory, config.cpus.count), (ByteSize::gib(1), 1));
        config.check().unwrap();
    }
}
