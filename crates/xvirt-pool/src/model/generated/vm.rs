// Written by scripts/model.
//! The class `VM`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A virtual machine, or a template or snapshot of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Vm {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// What may be done with it now. It is advice: each operation checks again.
    pub allowed_operations: Vec<enums::VmOperations>,
    /// What is being done with it: the kind of the operation by the reference of its task.
    pub current_operations: BTreeMap<String, enums::VmOperations>,
    /// The name for people; several objects may have the same.
    pub name_label: String,
    /// The description for people.
    pub name_description: String,
    /// Whether it is off, running, paused or saved to disk. That of a VM on a silent host is the last one known.
    pub power_state: enums::VmPowerState,
    /// Kept as clients set it; xvirt does not use it.
    pub user_version: i64,
    /// Whether it is a template, or a snapshot, neither of which can be started.
    pub is_a_template: bool,
    /// Whether it is a template that came with xvirt, which cannot be destroyed.
    pub is_default_template: bool,
    /// The contents of its memory while it is suspended.
    #[serde(rename = "suspend_VDI")]
    pub suspend_vdi: Ref<super::Vdi>,
    /// The host that runs it or has it paused; null while it is halted or suspended.
    pub resident_on: Ref<super::Host>,
    /// The host that keeps memory for it while it is started there or migrates there.
    pub scheduled_to_be_resident_on: Ref<super::Host>,
    /// The host on which it is started if it fits there; null for any.
    pub affinity: Ref<super::Host>,
    /// Bytes of host memory that it takes beside its own.
    pub memory_overhead: i64,
    /// Bytes: what its memory balloon is to leave to the guest; 0 while it is halted.
    pub memory_target: i64,
    /// Bytes of memory that the guest sees: at least 2 MiB, a multiple of 4 KiB. Changed while it is halted.
    pub memory_static_max: i64,
    /// Bytes that its balloon leaves to the guest, at most memory_static_max. Changed while it runs.
    pub memory_dynamic_max: i64,
    /// Bytes: the least that memory_dynamic_max can be set to. xvirt takes no memory from a guest by itself.
    pub memory_dynamic_min: i64,
    /// Bytes below which memory_dynamic_min cannot be set.
    pub memory_static_min: i64,
    /// `weight`: its share of CPU time beside other VMs on Xen's scale, where 256 is usual; `cap`: percent of one CPU
    /// that all vCPUs together may use, 0 for no cap. `mask` is refused.
    #[serde(rename = "VCPUs_params")]
    pub vcpus_params: BTreeMap<String, String>,
    /// The most that VCPUs_at_startup can be set to: 1 to 254.
    #[serde(rename = "VCPUs_max")]
    pub vcpus_max: i64,
    /// The number of vCPUs, from 1 to VCPUs_max. Changed while it is halted.
    #[serde(rename = "VCPUs_at_startup")]
    pub vcpus_at_startup: i64,
    /// Kept as clients set it; xvirt does not use it.
    pub actions_after_softreboot: enums::OnSoftrebootBehavior,
    /// Not honoured: always `destroy`.
    pub actions_after_shutdown: enums::OnNormalExit,
    /// Not honoured: always `restart`.
    pub actions_after_reboot: enums::OnNormalExit,
    /// What follows when its guest crashes: `destroy` halts it, `restart` and `rename_restart` start it again,
    /// `preserve` pauses it. No dump is written, and its name stays.
    pub actions_after_crash: enums::OnCrashBehaviour,
    /// Its consoles, while it runs.
    pub consoles: Vec<Ref<super::Console>>,
    /// Its network interfaces.
    #[serde(rename = "VIFs")]
    pub vifs: Vec<Ref<super::Vif>>,
    /// Its disks and drives.
    #[serde(rename = "VBDs")]
    pub vbds: Vec<Ref<super::Vbd>>,
    /// Not honoured: always empty.
    #[serde(rename = "VUSBs")]
    pub vusbs: Vec<Ref<super::Vusb>>,
    /// Not honoured: always empty.
    pub crash_dumps: Vec<Ref<super::Crashdump>>,
    /// Not honoured: always empty.
    #[serde(rename = "VTPMs")]
    pub vtpms: Vec<Ref<super::Vtpm>>,
    /// Kept as clients set it; xvirt does not use it.
    #[serde(rename = "PV_bootloader")]
    pub pv_bootloader: String,
    /// A kernel in the host's folder of kernels that is started instead of the one on the disk; empty for the disk's.
    #[serde(rename = "PV_kernel")]
    pub pv_kernel: String,
    /// The initial RAM disk of PV_kernel, in the same folder.
    #[serde(rename = "PV_ramdisk")]
    pub pv_ramdisk: String,
    /// The command line of PV_kernel, or what is appended to the one on the disk.
    #[serde(rename = "PV_args")]
    pub pv_args: String,
    /// Not honoured: always empty.
    #[serde(rename = "PV_bootloader_args")]
    pub pv_bootloader_args: String,
    /// Not honoured: always empty.
    #[serde(rename = "PV_legacy_args")]
    pub pv_legacy_args: String,
    /// Kept as clients set it; xvirt does not use it.
    #[serde(rename = "HVM_boot_policy")]
    pub hvm_boot_policy: String,
    /// Kept without an effect, except that an `order` that begins with `n` is refused: xvirt does not boot from the
    /// network.
    #[serde(rename = "HVM_boot_params")]
    pub hvm_boot_params: BTreeMap<String, String>,
    /// Not honoured: always `1.0`.
    #[serde(rename = "HVM_shadow_multiplier")]
    pub hvm_shadow_multiplier: f64,
    /// Kept without an effect, except that `secureboot`, `viridian`, `nested-virt` and `exp-nested-hvm` must not be
    /// `true`.
    pub platform: BTreeMap<String, String>,
    /// Not honoured: always empty.
    #[serde(rename = "PCI_bus")]
    pub pci_bus: String,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// A number of the run, other after each start, while it runs; -1 otherwise.
    pub domid: i64,
    /// The architecture of its processors while it runs: `x86_64`.
    pub domarch: String,
    /// Not honoured: always empty.
    #[serde(rename = "last_boot_CPU_flags")]
    pub last_boot_cpu_flags: BTreeMap<String, String>,
    /// Whether it stands for the host itself.
    pub is_control_domain: bool,
    /// What is measured of it.
    pub metrics: Ref<super::VmMetrics>,
    /// What its guest says of itself; null until it was started once.
    pub guest_metrics: Ref<super::VmGuestMetrics>,
    /// Not honoured: always empty.
    pub last_booted_record: String,
    /// Kept as clients set it; xvirt does not use it.
    pub recommendations: String,
    /// Kept as clients set it; xvirt does not use it.
    pub xenstore_data: BTreeMap<String, String>,
    /// Not honoured: always `false`.
    pub ha_always_run: bool,
    /// Not honoured: always empty.
    pub ha_restart_priority: String,
    /// Whether it is a snapshot or a checkpoint.
    pub is_a_snapshot: bool,
    /// The VM of which it is a snapshot.
    pub snapshot_of: Ref<super::Vm>,
    /// Its snapshots.
    pub snapshots: Vec<Ref<super::Vm>>,
    /// When it was taken, if it is a snapshot.
    pub snapshot_time: DateTime,
    /// Not honoured: always empty.
    pub transportable_snapshot_id: String,
    /// Not honoured: always empty.
    pub blobs: BTreeMap<String, Ref<super::Blob>>,
    /// Kept as clients set it; xvirt does not use it.
    pub tags: Vec<String>,
    /// Operations that are refused, with the code of the error that says so.
    pub blocked_operations: BTreeMap<enums::VmOperations, String>,
    /// Of a snapshot: `power-state-at-snapshot` and `disk-snapshot-type`.
    pub snapshot_info: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub snapshot_metadata: String,
    /// The snapshot that it was reverted to or that was taken of it last.
    pub parent: Ref<super::Vm>,
    /// The VMs and snapshots whose parent it is.
    pub children: Vec<Ref<super::Vm>>,
    /// Kept as clients set it; xvirt does not use it.
    pub bios_strings: BTreeMap<String, String>,
    /// Not honoured: always the null reference.
    pub protection_policy: Ref<super::Vmpp>,
    /// Not honoured: always `false`.
    pub is_snapshot_from_vmpp: bool,
    /// Not honoured: always the null reference.
    pub snapshot_schedule: Ref<super::Vmss>,
    /// Not honoured: always `false`.
    pub is_vmss_snapshot: bool,
    /// Not honoured: always the null reference.
    pub appliance: Ref<super::VmAppliance>,
    /// Not honoured: always `0`.
    pub start_delay: i64,
    /// Not honoured: always `0`.
    pub shutdown_delay: i64,
    /// Not honoured: always `0`.
    pub order: i64,
    /// Not honoured: always empty.
    #[serde(rename = "VGPUs")]
    pub vgpus: Vec<Ref<super::Vgpu>>,
    /// Not honoured: always empty.
    #[serde(rename = "attached_PCIs")]
    pub attached_pcis: Vec<Ref<super::Pci>>,
    /// The repository for its memory when it is suspended; null for that of the pool.
    #[serde(rename = "suspend_SR")]
    pub suspend_sr: Ref<super::Sr>,
    /// Not honoured: always `0`.
    pub version: i64,
    /// The VM generation ID as two signed numbers of 64 bits. It changes when it becomes a copy or is reverted.
    pub generation_id: String,
    /// Kept as clients set it; xvirt does not use it.
    pub hardware_platform_version: i64,
    /// Not honoured: always `false`.
    pub has_vendor_device: bool,
    /// Whether it runs with other settings than those of its next start.
    pub requires_reboot: bool,
    /// Kept as clients set it; xvirt does not use it.
    pub reference_label: String,
    /// How its guest is run: `hvm`, by the processor's virtualization. `unspecified` becomes that, others are
    /// refused.
    pub domain_type: enums::DomainType,
    /// Not honoured: always empty.
    #[serde(rename = "NVRAM")]
    pub nvram: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub pending_guidances: Vec<enums::UpdateGuidances>,
    /// Not honoured: always empty.
    pub pending_guidances_recommended: Vec<enums::UpdateGuidances>,
    /// Not honoured: always empty.
    pub pending_guidances_full: Vec<enums::UpdateGuidances>,
    /// Not honoured: always empty.
    pub groups: Vec<Ref<super::VmGroup>>,
    /// Not honoured: always `ok`.
    pub secureboot_certificates_state: enums::VmSecurebootCertificatesState,
    /// The version of the program that runs it, while it runs. `VM.xvirt_upgrade_worker` moves it to that of the
    /// host.
    pub xvirt_worker_version: String,
}

impl Default for Vm {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            allowed_operations: Vec::new(),
            current_operations: BTreeMap::new(),
            name_label: String::new(),
            name_description: String::new(),
            power_state: enums::VmPowerState::Halted,
            user_version: 0,
            is_a_template: false,
            is_default_template: false,
            suspend_vdi: Ref::NULL,
            resident_on: Ref::NULL,
            scheduled_to_be_resident_on: Ref::NULL,
            affinity: Ref::NULL,
            memory_overhead: 0,
            memory_target: 0,
            memory_static_max: 536870912,
            memory_dynamic_max: 536870912,
            memory_dynamic_min: 536870912,
            memory_static_min: 2097152,
            vcpus_params: BTreeMap::new(),
            vcpus_max: 1,
            vcpus_at_startup: 1,
            actions_after_softreboot: enums::OnSoftrebootBehavior::SoftReboot,
            actions_after_shutdown: enums::OnNormalExit::Destroy,
            actions_after_reboot: enums::OnNormalExit::Restart,
            actions_after_crash: enums::OnCrashBehaviour::Restart,
            consoles: Vec::new(),
            vifs: Vec::new(),
            vbds: Vec::new(),
            vusbs: Vec::new(),
            crash_dumps: Vec::new(),
            vtpms: Vec::new(),
            pv_bootloader: String::new(),
            pv_kernel: String::new(),
            pv_ramdisk: String::new(),
            pv_args: String::new(),
            pv_bootloader_args: String::new(),
            pv_legacy_args: String::new(),
            hvm_boot_policy: String::new(),
            hvm_boot_params: BTreeMap::new(),
            hvm_shadow_multiplier: 1.0,
            platform: BTreeMap::new(),
            pci_bus: String::new(),
            other_config: BTreeMap::new(),
            domid: -1,
            domarch: String::new(),
            last_boot_cpu_flags: BTreeMap::new(),
            is_control_domain: false,
            metrics: Ref::NULL,
            guest_metrics: Ref::NULL,
            last_booted_record: String::new(),
            recommendations: String::new(),
            xenstore_data: BTreeMap::new(),
            ha_always_run: false,
            ha_restart_priority: String::new(),
            is_a_snapshot: false,
            snapshot_of: Ref::NULL,
            snapshots: Vec::new(),
            snapshot_time: DateTime::EPOCH,
            transportable_snapshot_id: String::new(),
            blobs: BTreeMap::new(),
            tags: Vec::new(),
            blocked_operations: BTreeMap::new(),
            snapshot_info: BTreeMap::new(),
            snapshot_metadata: String::new(),
            parent: Ref::NULL,
            children: Vec::new(),
            bios_strings: BTreeMap::new(),
            protection_policy: Ref::NULL,
            is_snapshot_from_vmpp: false,
            snapshot_schedule: Ref::NULL,
            is_vmss_snapshot: false,
            appliance: Ref::NULL,
            start_delay: 0,
            shutdown_delay: 0,
            order: 0,
            vgpus: Vec::new(),
            attached_pcis: Vec::new(),
            suspend_sr: Ref::NULL,
            version: 0,
            generation_id: "0:0".to_owned(),
            hardware_platform_version: 0,
            has_vendor_device: false,
            requires_reboot: false,
            reference_label: String::new(),
            domain_type: enums::DomainType::Hvm,
            nvram: BTreeMap::new(),
            pending_guidances: Vec::new(),
            pending_guidances_recommended: Vec::new(),
            pending_guidances_full: Vec::new(),
            groups: Vec::new(),
            secureboot_certificates_state: enums::VmSecurebootCertificatesState::Ok,
            xvirt_worker_version: String::new(),
        }
    }
}

impl Record for Vm {}

impl Class for Vm {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VM",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VM"),
        record: &Type::Record("VM"),
        whole: Some(whole::<Vm>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::writable("HVM_boot_params", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN)
                .required()
                .honoured(),
            Field::constant("HVM_boot_policy", Type::String).required().lifecycle(Lifecycle::Deprecated).kept(),
            Field::constant("HVM_shadow_multiplier", Type::Float).starts_as("1.0"),
            Field::constant("NVRAM", Type::Map(&Type::String, &Type::String)),
            Field::writable("PCI_bus", Type::String, Roles::VM_ADMIN).required().lifecycle(Lifecycle::Deprecated),
            Field::writable("PV_args", Type::String, Roles::VM_ADMIN).required().honoured(),
            Field::writable("PV_bootloader", Type::String, Roles::VM_ADMIN).required().kept(),
            Field::writable("PV_bootloader_args", Type::String, Roles::VM_ADMIN).required(),
            Field::writable("PV_kernel", Type::String, Roles::VM_ADMIN).required().honoured(),
            Field::writable("PV_legacy_args", Type::String, Roles::VM_ADMIN).required(),
            Field::writable("PV_ramdisk", Type::String, Roles::VM_ADMIN).required().honoured(),
            Field::dynamic("VBDs", Type::Set(&Type::Ref("VBD"))).required().honoured(),
            Field::constant("VCPUs_at_startup", Type::Int).required().starts_as("1").honoured(),
            Field::constant("VCPUs_max", Type::Int).required().starts_as("1").honoured(),
            Field::writable("VCPUs_params", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN)
                .required()
                .honoured(),
            Field::dynamic("VGPUs", Type::Set(&Type::Ref("VGPU"))).required(),
            Field::dynamic("VIFs", Type::Set(&Type::Ref("VIF"))).required().honoured(),
            Field::dynamic("VTPMs", Type::Set(&Type::Ref("VTPM"))).required(),
            Field::dynamic("VUSBs", Type::Set(&Type::Ref("VUSB"))).required(),
            Field::constant("actions_after_crash", Type::Enum(enums::OnCrashBehaviour::TABLE))
                .required()
                .starts_as(r#""restart""#)
                .honoured(),
            Field::writable("actions_after_reboot", Type::Enum(enums::OnNormalExit::TABLE), Roles::VM_ADMIN)
                .required()
                .starts_as(r#""restart""#),
            Field::writable("actions_after_shutdown", Type::Enum(enums::OnNormalExit::TABLE), Roles::VM_ADMIN)
                .required()
                .starts_as(r#""destroy""#),
            Field::writable(
                "actions_after_softreboot",
                Type::Enum(enums::OnSoftrebootBehavior::TABLE),
                Roles::VM_ADMIN,
            )
            .starts_as(r#""soft_reboot""#)
            .lifecycle(Lifecycle::Prototyped)
            .kept(),
            Field::writable("affinity", Type::Ref("host"), Roles::VM_POWER_ADMIN).required().honoured(),
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::VmOperations::TABLE))).honoured(),
            Field::constant("appliance", Type::Ref("VM_appliance")),
            Field::dynamic("attached_PCIs", Type::Set(&Type::Ref("PCI"))).required(),
            Field::dynamic("bios_strings", Type::Map(&Type::String, &Type::String)).kept(),
            Field::dynamic("blobs", Type::Map(&Type::String, &Type::Ref("blob"))),
            Field::constant("blocked_operations", Type::Map(&Type::Enum(enums::VmOperations::TABLE), &Type::String))
                .honoured(),
            Field::dynamic("children", Type::Set(&Type::Ref("VM"))).required().honoured(),
            Field::dynamic("consoles", Type::Set(&Type::Ref("console"))).required().honoured(),
            Field::dynamic("crash_dumps", Type::Set(&Type::Ref("crashdump"))).required(),
            Field::dynamic("current_operations", Type::Map(&Type::String, &Type::Enum(enums::VmOperations::TABLE)))
                .honoured(),
            Field::constant("domain_type", Type::Enum(enums::DomainType::TABLE)).starts_as(r#""hvm""#).honoured(),
            Field::dynamic("domarch", Type::String).required().honoured(),
            Field::dynamic("domid", Type::Int).required().starts_as("-1").honoured(),
            Field::constant("generation_id", Type::String).starts_as(r#""0:0""#).honoured(),
            Field::dynamic("groups", Type::Set(&Type::Ref("VM_group"))).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("guest_metrics", Type::Ref("VM_guest_metrics")).required().honoured(),
            Field::constant("ha_always_run", Type::Bool).lifecycle(Lifecycle::Deprecated),
            Field::constant("ha_restart_priority", Type::String),
            Field::writable("hardware_platform_version", Type::Int, Roles::VM_ADMIN).kept(),
            Field::constant("has_vendor_device", Type::Bool),
            Field::dynamic("is_a_snapshot", Type::Bool).honoured(),
            Field::writable("is_a_template", Type::Bool, Roles::VM_ADMIN).required().honoured(),
            Field::dynamic("is_control_domain", Type::Bool).required().honoured(),
            Field::dynamic("is_default_template", Type::Bool).honoured(),
            Field::constant("is_snapshot_from_vmpp", Type::Bool).lifecycle(Lifecycle::Removed),
            Field::constant("is_vmss_snapshot", Type::Bool),
            Field::constant("last_boot_CPU_flags", Type::Map(&Type::String, &Type::String)),
            Field::constant("last_booted_record", Type::String),
            Field::constant("memory_dynamic_max", Type::Int).required().starts_as("536870912").honoured(),
            Field::constant("memory_dynamic_min", Type::Int).required().starts_as("536870912").honoured(),
            Field::dynamic("memory_overhead", Type::Int).honoured(),
            Field::constant("memory_static_max", Type::Int).required().starts_as("536870912").honoured(),
            Field::constant("memory_static_min", Type::Int).required().starts_as("2097152").honoured(),
            Field::constant("memory_target", Type::Int).lifecycle(Lifecycle::Deprecated).honoured(),
            Field::dynamic("metrics", Type::Ref("VM_metrics")).required().honoured(),
            Field::writable("name_description", Type::String, Roles::VM_ADMIN).honoured(),
            Field::writable("name_label", Type::String, Roles::VM_ADMIN).honoured(),
            Field::constant("order", Type::Int),
            Field::constant("other_config", Type::Map(&Type::String, &Type::String)).required().kept(),
            Field::dynamic("parent", Type::Ref("VM")).honoured(),
            Field::dynamic("pending_guidances", Type::Set(&Type::Enum(enums::UpdateGuidances::TABLE))),
            Field::dynamic("pending_guidances_full", Type::Set(&Type::Enum(enums::UpdateGuidances::TABLE)))
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("pending_guidances_recommended", Type::Set(&Type::Enum(enums::UpdateGuidances::TABLE)))
                .lifecycle(Lifecycle::Prototyped),
            Field::constant("platform", Type::Map(&Type::String, &Type::String)).required().honoured(),
            Field::constant("power_state", Type::Enum(enums::VmPowerState::TABLE)).starts_as(r#""Halted""#).honoured(),
            Field::constant("protection_policy", Type::Ref("VMPP")).lifecycle(Lifecycle::Deprecated),
            Field::writable("recommendations", Type::String, Roles::VM_ADMIN).required().kept(),
            Field::constant("reference_label", Type::String).kept(),
            Field::dynamic("requires_reboot", Type::Bool).honoured(),
            Field::dynamic("resident_on", Type::Ref("host")).required().honoured(),
            Field::dynamic("scheduled_to_be_resident_on", Type::Ref("host")).honoured(),
            Field::dynamic("secureboot_certificates_state", Type::Enum(enums::VmSecurebootCertificatesState::TABLE))
                .starts_as(r#""ok""#)
                .lifecycle(Lifecycle::Prototyped),
            Field::constant("shutdown_delay", Type::Int),
            Field::dynamic("snapshot_info", Type::Map(&Type::String, &Type::String)).honoured(),
            Field::dynamic("snapshot_metadata", Type::String),
            Field::dynamic("snapshot_of", Type::Ref("VM")).honoured(),
            Field::constant("snapshot_schedule", Type::Ref("VMSS")),
            Field::dynamic("snapshot_time", Type::DateTime).honoured(),
            Field::dynamic("snapshots", Type::Set(&Type::Ref("VM"))).required().honoured(),
            Field::constant("start_delay", Type::Int),
            Field::writable("suspend_SR", Type::Ref("SR"), Roles::VM_ADMIN).honoured(),
            Field::constant("suspend_VDI", Type::Ref("VDI")).honoured(),
            Field::writable("tags", Type::Set(&Type::String), Roles::VM_OPERATOR).kept(),
            Field::dynamic("transportable_snapshot_id", Type::String),
            Field::writable("user_version", Type::Int, Roles::VM_ADMIN).required().kept(),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::constant("version", Type::Int),
            Field::writable("xenstore_data", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN).kept(),
            Field::dynamic("xvirt_worker_version", Type::String).honoured(),
        ],
        verbs: &[
            Verb::new(
                "add_to_NVRAM",
                &[("self", Type::Ref("VM")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "add_to_VCPUs_params_live",
                &[("self", Type::Ref("VM")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "add_to_blocked_operations",
                &[("self", Type::Ref("VM")), ("key", Type::Enum(enums::VmOperations::TABLE)), ("value", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "add_to_other_config",
                &[("self", Type::Ref("VM")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "add_to_platform",
                &[("self", Type::Ref("VM")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new("assert_agile", &[("self", Type::Ref("VM"))], Type::Void, Roles::READ_ONLY),
            Verb::new(
                "assert_can_be_recovered",
                &[("self", Type::Ref("VM")), ("session_to", Type::Ref("session"))],
                Type::Void,
                Roles::READ_ONLY,
            )
            .errors(&["VM_IS_PART_OF_AN_APPLIANCE", "VM_REQUIRES_SR"]),
            Verb::new(
                "assert_can_boot_here",
                &[("self", Type::Ref("VM")), ("host", Type::Ref("host"))],
                Type::Void,
                Roles::READ_ONLY,
            )
            .errors(&[
                "HOST_NOT_ENOUGH_FREE_MEMORY",
                "HOST_NOT_ENOUGH_PCPUS",
                "NETWORK_SRIOV_INSUFFICIENT_CAPACITY",
                "HOST_NOT_LIVE",
                "HOST_DISABLED",
                "HOST_CANNOT_ATTACH_NETWORK",
                "VM_HVM_REQUIRED",
                "VM_REQUIRES_GPU",
                "VM_REQUIRES_IOMMU",
                "VM_REQUIRES_NETWORK",
                "VM_REQUIRES_SR",
                "VM_REQUIRES_VGPU",
                "VM_HOST_INCOMPATIBLE_VERSION",
                "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION",
                "INVALID_VALUE",
                "MEMORY_CONSTRAINT_VIOLATION",
                "OPERATION_NOT_ALLOWED",
                "VALUE_NOT_SUPPORTED",
                "VM_INCOMPATIBLE_WITH_THIS_HOST",
            ]),
            Verb::new(
                "assert_can_migrate",
                &[
                    ("vm", Type::Ref("VM")),
                    ("dest", Type::Map(&Type::String, &Type::String)),
                    ("live", Type::Bool),
                    ("vdi_map", Type::Map(&Type::Ref("VDI"), &Type::Ref("SR"))),
                    ("vif_map", Type::Map(&Type::Ref("VIF"), &Type::Ref("network"))),
                    ("options", Type::Map(&Type::String, &Type::String)),
                    ("vgpu_map", Type::Map(&Type::Ref("VGPU"), &Type::Ref("GPU_group"))),
                ],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            )
            .optional(1)
            .errors(&["LICENCE_RESTRICTION"]),
            Verb::new(
                "assert_operation_valid",
                &[("self", Type::Ref("VM")), ("op", Type::Enum(enums::VmOperations::TABLE))],
                Type::Void,
                Roles::READ_ONLY,
            ),
            Verb::new(
                "call_host_plugin",
                &[
                    ("vm", Type::Ref("VM")),
                    ("plugin", Type::String),
                    ("fn", Type::String),
                    ("args", Type::Map(&Type::String, &Type::String)),
                ],
                Type::String,
                Roles::VM_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "call_plugin",
                &[
                    ("vm", Type::Ref("VM")),
                    ("plugin", Type::String),
                    ("fn", Type::String),
                    ("args", Type::Map(&Type::String, &Type::String)),
                ],
                Type::String,
                Roles::VM_OPERATOR,
            ),
            Verb::new(
                "checkpoint",
                &[("vm", Type::Ref("VM")), ("new_name", Type::String)],
                Type::Ref("VM"),
                Roles::VM_POWER_ADMIN,
            )
            .errors(&[
                "VM_BAD_POWER_STATE",
                "SR_FULL",
                "OPERATION_NOT_ALLOWED",
                "VM_CHECKPOINT_SUSPEND_FAILED",
                "VM_CHECKPOINT_RESUME_FAILED",
            ]),
            Verb::new("clean_reboot", &[("vm", Type::Ref("VM"))], Type::Void, Roles::VM_OPERATOR).errors(&[
                "VM_BAD_POWER_STATE",
                "OTHER_OPERATION_IN_PROGRESS",
                "OPERATION_NOT_ALLOWED",
                "VM_IS_TEMPLATE",
            ]),
            Verb::new("clean_shutdown", &[("vm", Type::Ref("VM"))], Type::Void, Roles::VM_OPERATOR).errors(&[
                "VM_BAD_POWER_STATE",
                "OTHER_OPERATION_IN_PROGRESS",
                "OPERATION_NOT_ALLOWED",
                "VM_IS_TEMPLATE",
            ]),
            Verb::new(
                "clone",
                &[("vm", Type::Ref("VM")), ("new_name", Type::String)],
                Type::Ref("VM"),
                Roles::VM_ADMIN,
            )
            .errors(&["VM_BAD_POWER_STATE", "SR_FULL", "OPERATION_NOT_ALLOWED", "LICENCE_RESTRICTION"]),
            Verb::new("compute_memory_overhead", &[("vm", Type::Ref("VM"))], Type::Int, Roles::READ_ONLY),
            Verb::new(
                "copy",
                &[("vm", Type::Ref("VM")), ("new_name", Type::String), ("sr", Type::Ref("SR"))],
                Type::Ref("VM"),
                Roles::VM_ADMIN,
            )
            .errors(&["VM_BAD_POWER_STATE", "SR_FULL", "OPERATION_NOT_ALLOWED", "LICENCE_RESTRICTION"]),
            Verb::new(
                "copy_bios_strings",
                &[("vm", Type::Ref("VM")), ("host", Type::Ref("host"))],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new("create", &[("args", Type::Record("VM"))], Type::Ref("VM"), Roles::VM_ADMIN),
            Verb::new(
                "create_new_blob",
                &[("vm", Type::Ref("VM")), ("name", Type::String), ("mime_type", Type::String), ("public", Type::Bool)],
                Type::Ref("blob"),
                Roles::VM_POWER_ADMIN,
            )
            .optional(1),
            Verb::new("destroy", &[("self", Type::Ref("VM"))], Type::Void, Roles::VM_ADMIN),
            Verb::new(
                "forget_data_source_archives",
                &[("self", Type::Ref("VM")), ("data_source", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "get_SRs_required_for_recovery",
                &[("self", Type::Ref("VM")), ("session_to", Type::Ref("session"))],
                Type::Set(&Type::Ref("SR")),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "get_allowed_VBD_devices",
                &[("vm", Type::Ref("VM"))],
                Type::Set(&Type::String),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "get_allowed_VIF_devices",
                &[("vm", Type::Ref("VM"))],
                Type::Set(&Type::String),
                Roles::READ_ONLY,
            ),
            Verb::new("get_boot_record", &[("self", Type::Ref("VM"))], Type::Record("VM"), Roles::READ_ONLY)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("get_cooperative", &[("self", Type::Ref("VM"))], Type::Bool, Roles::READ_ONLY)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "get_data_sources",
                &[("self", Type::Ref("VM"))],
                Type::Set(&Type::Record("data_source")),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "get_possible_hosts",
                &[("vm", Type::Ref("VM"))],
                Type::Set(&Type::Ref("host")),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "get_secureboot_readiness",
                &[("self", Type::Ref("VM"))],
                Type::Enum(enums::VmSecurebootReadiness::TABLE),
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new("hard_reboot", &[("vm", Type::Ref("VM"))], Type::Void, Roles::VM_OPERATOR).errors(&[
                "VM_BAD_POWER_STATE",
                "OTHER_OPERATION_IN_PROGRESS",
                "OPERATION_NOT_ALLOWED",
                "VM_IS_TEMPLATE",
            ]),
            Verb::new("hard_shutdown", &[("vm", Type::Ref("VM"))], Type::Void, Roles::VM_OPERATOR).errors(&[
                "VM_BAD_POWER_STATE",
                "OTHER_OPERATION_IN_PROGRESS",
                "OPERATION_NOT_ALLOWED",
                "VM_IS_TEMPLATE",
            ]),
            Verb::new(
                "import",
                &[("url", Type::String), ("sr", Type::Ref("SR")), ("full_restore", Type::Bool), ("force", Type::Bool)],
                Type::Set(&Type::Ref("VM")),
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "import_convert",
                &[
                    ("type", Type::String),
                    ("username", Type::String),
                    ("password", Type::String),
                    ("sr", Type::Ref("SR")),
                    ("remote_config", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "maximise_memory",
                &[("self", Type::Ref("VM")), ("total", Type::Int), ("approximate", Type::Bool)],
                Type::Int,
                Roles::READ_ONLY,
            ),
            Verb::new(
                "migrate_send",
                &[
                    ("vm", Type::Ref("VM")),
                    ("dest", Type::Map(&Type::String, &Type::String)),
                    ("live", Type::Bool),
                    ("vdi_map", Type::Map(&Type::Ref("VDI"), &Type::Ref("SR"))),
                    ("vif_map", Type::Map(&Type::Ref("VIF"), &Type::Ref("network"))),
                    ("options", Type::Map(&Type::String, &Type::String)),
                    ("vgpu_map", Type::Map(&Type::Ref("VGPU"), &Type::Ref("GPU_group"))),
                    ("vdi_format_map", Type::Map(&Type::Ref("VDI"), &Type::String)),
                ],
                Type::Ref("VM"),
                Roles::VM_POWER_ADMIN,
            )
            .optional(2)
            .errors(&["VM_BAD_POWER_STATE", "LICENCE_RESTRICTION"]),
            Verb::new("pause", &[("vm", Type::Ref("VM"))], Type::Void, Roles::VM_OPERATOR).errors(&[
                "VM_BAD_POWER_STATE",
                "OTHER_OPERATION_IN_PROGRESS",
                "OPERATION_NOT_ALLOWED",
                "VM_IS_TEMPLATE",
            ]),
            Verb::new(
                "pool_migrate",
                &[
                    ("vm", Type::Ref("VM")),
                    ("host", Type::Ref("host")),
                    ("options", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Void,
                Roles::VM_POWER_ADMIN.with_client_cert(),
            )
            .errors(&[
                "VM_BAD_POWER_STATE",
                "OTHER_OPERATION_IN_PROGRESS",
                "VM_IS_TEMPLATE",
                "OPERATION_NOT_ALLOWED",
            ]),
            Verb::new("power_state_reset", &[("vm", Type::Ref("VM"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("provision", &[("vm", Type::Ref("VM"))], Type::Void, Roles::VM_ADMIN).errors(&[
                "VM_BAD_POWER_STATE",
                "SR_FULL",
                "OPERATION_NOT_ALLOWED",
                "LICENCE_RESTRICTION",
            ]),
            Verb::new(
                "query_data_source",
                &[("self", Type::Ref("VM")), ("data_source", Type::String)],
                Type::Float,
                Roles::READ_ONLY,
            ),
            Verb::new(
                "query_services",
                &[("self", Type::Ref("VM"))],
                Type::Map(&Type::String, &Type::String),
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "record_data_source",
                &[("self", Type::Ref("VM")), ("data_source", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "recover",
                &[("self", Type::Ref("VM")), ("session_to", Type::Ref("session")), ("force", Type::Bool)],
                Type::Void,
                Roles::READ_ONLY,
            ),
            Verb::new(
                "remove_from_NVRAM",
                &[("self", Type::Ref("VM")), ("key", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "remove_from_blocked_operations",
                &[("self", Type::Ref("VM")), ("key", Type::Enum(enums::VmOperations::TABLE))],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "remove_from_other_config",
                &[("self", Type::Ref("VM")), ("key", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "remove_from_platform",
                &[("self", Type::Ref("VM")), ("key", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "restart_device_models",
                &[("self", Type::Ref("VM"))],
                Type::Void,
                Roles::VM_POWER_ADMIN.with_client_cert(),
            )
            .errors(&["VM_BAD_POWER_STATE", "OTHER_OPERATION_IN_PROGRESS", "VM_IS_TEMPLATE", "OPERATION_NOT_ALLOWED"])
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "resume",
                &[("vm", Type::Ref("VM")), ("start_paused", Type::Bool), ("force", Type::Bool)],
                Type::Void,
                Roles::VM_OPERATOR,
            )
            .errors(&["VM_BAD_POWER_STATE", "OPERATION_NOT_ALLOWED", "VM_IS_TEMPLATE"]),
            Verb::new(
                "resume_on",
                &[
                    ("vm", Type::Ref("VM")),
                    ("host", Type::Ref("host")),
                    ("start_paused", Type::Bool),
                    ("force", Type::Bool),
                ],
                Type::Void,
                Roles::VM_POWER_ADMIN.with_client_cert(),
            )
            .errors(&["VM_BAD_POWER_STATE", "OPERATION_NOT_ALLOWED", "VM_IS_TEMPLATE"]),
            Verb::new(
                "retrieve_wlb_recommendations",
                &[("vm", Type::Ref("VM"))],
                Type::Map(&Type::Ref("host"), &Type::Set(&Type::String)),
                Roles::READ_ONLY,
            ),
            Verb::new("revert", &[("snapshot", Type::Ref("VM"))], Type::Void, Roles::VM_POWER_ADMIN).errors(&[
                "VM_BAD_POWER_STATE",
                "OPERATION_NOT_ALLOWED",
                "SR_FULL",
                "VM_REVERT_FAILED",
            ]),
            Verb::new("send_sysrq", &[("vm", Type::Ref("VM")), ("key", Type::String)], Type::Void, Roles::POOL_ADMIN)
                .errors(&["VM_BAD_POWER_STATE"]),
            Verb::new(
                "send_trigger",
                &[("vm", Type::Ref("VM")), ("trigger", Type::String)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .errors(&["VM_BAD_POWER_STATE"]),
            Verb::new(
                "set_HVM_boot_policy",
                &[("self", Type::Ref("VM")), ("value", Type::String)],
                Type::Void,
                Roles::VM_ADMIN,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "set_HVM_shadow_multiplier",
                &[("self", Type::Ref("VM")), ("value", Type::Float)],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new(
                "set_NVRAM",
                &[("self", Type::Ref("VM")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_VCPUs_at_startup",
                &[("self", Type::Ref("VM")), ("value", Type::Int)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new("set_VCPUs_max", &[("self", Type::Ref("VM")), ("value", Type::Int)], Type::Void, Roles::VM_ADMIN),
            Verb::new(
                "set_VCPUs_number_live",
                &[("self", Type::Ref("VM")), ("nvcpu", Type::Int)],
                Type::Void,
                Roles::VM_ADMIN,
            )
            .errors(&["OPERATION_NOT_ALLOWED", "LICENCE_RESTRICTION"]),
            Verb::new(
                "set_actions_after_crash",
                &[("self", Type::Ref("VM")), ("value", Type::Enum(enums::OnCrashBehaviour::TABLE))],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_appliance",
                &[("self", Type::Ref("VM")), ("value", Type::Ref("VM_appliance"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_bios_strings",
                &[("self", Type::Ref("VM")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::VM_ADMIN,
            )
            .errors(&["VM_BIOS_STRINGS_ALREADY_SET", "INVALID_VALUE"]),
            Verb::new(
                "set_blocked_operations",
                &[
                    ("self", Type::Ref("VM")),
                    ("value", Type::Map(&Type::Enum(enums::VmOperations::TABLE), &Type::String)),
                ],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_domain_type",
                &[("self", Type::Ref("VM")), ("value", Type::Enum(enums::DomainType::TABLE))],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_groups",
                &[("self", Type::Ref("VM")), ("value", Type::Set(&Type::Ref("VM_group")))],
                Type::Void,
                Roles::VM_ADMIN,
            )
            .errors(&["OPERATION_NOT_ALLOWED"])
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ha_always_run",
                &[("self", Type::Ref("VM")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "set_ha_restart_priority",
                &[("self", Type::Ref("VM")), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_has_vendor_device",
                &[("self", Type::Ref("VM")), ("value", Type::Bool)],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_is_default_template",
                &[("vm", Type::Ref("VM")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "set_memory",
                &[("self", Type::Ref("VM")), ("value", Type::Int)],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new(
                "set_memory_dynamic_max",
                &[("self", Type::Ref("VM")), ("value", Type::Int)],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new(
                "set_memory_dynamic_min",
                &[("self", Type::Ref("VM")), ("value", Type::Int)],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new(
                "set_memory_dynamic_range",
                &[("self", Type::Ref("VM")), ("min", Type::Int), ("max", Type::Int)],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new(
                "set_memory_limits",
                &[
                    ("self", Type::Ref("VM")),
                    ("static_min", Type::Int),
                    ("static_max", Type::Int),
                    ("dynamic_min", Type::Int),
                    ("dynamic_max", Type::Int),
                ],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new(
                "set_memory_static_max",
                &[("self", Type::Ref("VM")), ("value", Type::Int)],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            )
            .errors(&["HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"]),
            Verb::new(
                "set_memory_static_min",
                &[("self", Type::Ref("VM")), ("value", Type::Int)],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new(
                "set_memory_static_range",
                &[("self", Type::Ref("VM")), ("min", Type::Int), ("max", Type::Int)],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new(
                "set_memory_target_live",
                &[("self", Type::Ref("VM")), ("target", Type::Int)],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "set_order",
                &[("self", Type::Ref("VM")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_other_config",
                &[("self", Type::Ref("VM")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_platform",
                &[("self", Type::Ref("VM")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::VM_ADMIN,
            ),
            Verb::new(
                "set_protection_policy",
                &[("self", Type::Ref("VM")), ("value", Type::Ref("VMPP"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_shadow_multiplier_live",
                &[("self", Type::Ref("VM")), ("multiplier", Type::Float)],
                Type::Void,
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new(
                "set_shutdown_delay",
                &[("self", Type::Ref("VM")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_snapshot_schedule",
                &[("self", Type::Ref("VM")), ("value", Type::Ref("VMSS"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_start_delay",
                &[("self", Type::Ref("VM")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_suspend_VDI",
                &[("self", Type::Ref("VM")), ("value", Type::Ref("VDI"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_uefi_mode",
                &[("self", Type::Ref("VM")), ("mode", Type::Enum(enums::VmUefiMode::TABLE))],
                Type::String,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new("shutdown", &[("vm", Type::Ref("VM"))], Type::Void, Roles::VM_OPERATOR.with_client_cert())
                .errors(&[
                    "VM_BAD_POWER_STATE",
                    "OTHER_OPERATION_IN_PROGRESS",
                    "OPERATION_NOT_ALLOWED",
                    "VM_IS_TEMPLATE",
                ]),
            Verb::new(
                "snapshot",
                &[("vm", Type::Ref("VM")), ("new_name", Type::String), ("ignore_vdis", Type::Set(&Type::Ref("VDI")))],
                Type::Ref("VM"),
                Roles::VM_POWER_ADMIN,
            )
            .optional(1)
            .errors(&["VM_BAD_POWER_STATE", "SR_FULL", "OPERATION_NOT_ALLOWED"]),
            Verb::new(
                "snapshot_with_quiesce",
                &[("vm", Type::Ref("VM")), ("new_name", Type::String)],
                Type::Ref("VM"),
                Roles::VM_POWER_ADMIN,
            )
            .errors(&[
                "VM_BAD_POWER_STATE",
                "SR_FULL",
                "OPERATION_NOT_ALLOWED",
                "VM_SNAPSHOT_WITH_QUIESCE_FAILED",
                "VM_SNAPSHOT_WITH_QUIESCE_TIMEOUT",
                "VM_SNAPSHOT_WITH_QUIESCE_PLUGIN_DEOS_NOT_RESPOND",
                "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED",
            ])
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "start",
                &[("vm", Type::Ref("VM")), ("start_paused", Type::Bool), ("force", Type::Bool)],
                Type::Void,
                Roles::VM_OPERATOR,
            )
            .errors(&[
                "VM_BAD_POWER_STATE",
                "VM_HVM_REQUIRED",
                "VM_IS_TEMPLATE",
                "OTHER_OPERATION_IN_PROGRESS",
                "OPERATION_NOT_ALLOWED",
                "BOOTLOADER_FAILED",
                "UNKNOWN_BOOTLOADER",
                "NO_HOSTS_AVAILABLE",
                "LICENCE_RESTRICTION",
            ]),
            Verb::new(
                "start_on",
                &[
                    ("vm", Type::Ref("VM")),
                    ("host", Type::Ref("host")),
                    ("start_paused", Type::Bool),
                    ("force", Type::Bool),
                ],
                Type::Void,
                Roles::VM_POWER_ADMIN.with_client_cert(),
            )
            .errors(&[
                "VM_BAD_POWER_STATE",
                "VM_IS_TEMPLATE",
                "OTHER_OPERATION_IN_PROGRESS",
                "OPERATION_NOT_ALLOWED",
                "BOOTLOADER_FAILED",
                "UNKNOWN_BOOTLOADER",
            ]),
            Verb::new("suspend", &[("vm", Type::Ref("VM"))], Type::Void, Roles::VM_OPERATOR.with_client_cert()).errors(
                &["VM_BAD_POWER_STATE", "OTHER_OPERATION_IN_PROGRESS", "OPERATION_NOT_ALLOWED", "VM_IS_TEMPLATE"],
            ),
            Verb::new(
                "sysprep",
                &[("self", Type::Ref("VM")), ("unattend", Type::String), ("timeout", Type::Float)],
                Type::Void,
                Roles::VM_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new("unpause", &[("vm", Type::Ref("VM"))], Type::Void, Roles::VM_OPERATOR).errors(&[
                "VM_BAD_POWER_STATE",
                "OPERATION_NOT_ALLOWED",
                "VM_IS_TEMPLATE",
            ]),
            Verb::new("update_allowed_operations", &[("self", Type::Ref("VM"))], Type::Void, Roles::POOL_ADMIN),
            Verb::new(
                "update_secureboot_certificates_on_boot",
                &[("self", Type::Ref("VM")), ("mark", Type::Bool)],
                Type::Void,
                Roles::VM_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new("wait_memory_target_live", &[("self", Type::Ref("VM"))], Type::Void, Roles::READ_ONLY)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("xvirt_upgrade_worker", &[("vm", Type::Ref("VM"))], Type::Float, Roles::VM_POWER_ADMIN),
        ],
    };
}
