// Written by scripts/model.
//! The class `host`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A host: a machine that runs virtual machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Host {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name for people; several objects may have the same.
    pub name_label: String,
    /// The description for people.
    pub name_description: String,
    /// Bytes that the host service and the kernel keep for themselves.
    pub memory_overhead: i64,
    /// What may be done with it now. It is advice: each operation checks again.
    pub allowed_operations: Vec<enums::HostAllowedOperations>,
    /// What is being done with it: the kind of the operation by the reference of its task.
    pub current_operations: BTreeMap<String, enums::HostAllowedOperations>,
    /// The version of XenAPI.
    #[serde(rename = "API_version_major")]
    pub api_version_major: i64,
    /// The minor version of XenAPI.
    #[serde(rename = "API_version_minor")]
    pub api_version_minor: i64,
    /// Who made this implementation of XenAPI.
    #[serde(rename = "API_version_vendor")]
    pub api_version_vendor: String,
    /// The version of this implementation.
    #[serde(rename = "API_version_vendor_implementation")]
    pub api_version_vendor_implementation: BTreeMap<String, String>,
    /// Whether VMs may be started on it.
    pub enabled: bool,
    /// Versions, all as texts: `product_version`, `product_brand`, `xapi`, `linux`, `xvirt` and others.
    pub software_version: BTreeMap<String, String>,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// The kinds of guests that it runs: `hvm-3.0-x86_64`.
    pub capabilities: Vec<String>,
    /// `nr_cpus`: the number of its processors, for clients of earlier versions.
    pub cpu_configuration: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub sched_policy: String,
    /// Not honoured: always empty.
    pub supported_bootloaders: Vec<String>,
    /// The VMs that it runs or has paused.
    #[serde(rename = "resident_VMs")]
    pub resident_vms: Vec<Ref<super::Vm>>,
    /// Kept as clients set it; xvirt does not use it.
    pub logging: BTreeMap<String, String>,
    /// Its network interfaces.
    #[serde(rename = "PIFs")]
    pub pifs: Vec<Ref<super::Pif>>,
    /// The repository for the memory of VMs that are suspended here and name none.
    pub suspend_image_sr: Ref<super::Sr>,
    /// Kept as clients set it; xvirt does not use it.
    pub crash_dump_sr: Ref<super::Sr>,
    /// Not honoured: always empty.
    pub crashdumps: Vec<Ref<super::HostCrashdump>>,
    /// Not honoured: always empty.
    pub patches: Vec<Ref<super::HostPatch>>,
    /// Not honoured: always empty.
    pub updates: Vec<Ref<super::PoolUpdate>>,
    /// Its connections to repositories.
    #[serde(rename = "PBDs")]
    pub pbds: Vec<Ref<super::Pbd>>,
    /// Its processors.
    #[serde(rename = "host_CPUs")]
    pub host_cpus: Vec<Ref<super::HostCpu>>,
    /// Its processors together: `cpu_count`, `socket_count`, `vendor`, `modelname`, `speed`, `flags`, `features`.
    pub cpu_info: BTreeMap<String, String>,
    /// Its name in the network.
    pub hostname: String,
    /// The address by which the other members reach it.
    pub address: String,
    /// What is measured of it.
    pub metrics: Ref<super::HostMetrics>,
    /// The edition as keys and values, which clients show; `expiry` is never.
    pub license_params: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub ha_statefiles: Vec<String>,
    /// Not honoured: always empty.
    pub ha_network_peers: Vec<String>,
    /// Not honoured: always empty.
    pub blobs: BTreeMap<String, Ref<super::Blob>>,
    /// Kept as clients set it; xvirt does not use it.
    pub tags: Vec<String>,
    /// Not honoured: always empty.
    pub external_auth_type: String,
    /// Not honoured: always empty.
    pub external_auth_service_name: String,
    /// Not honoured: always empty.
    pub external_auth_configuration: BTreeMap<String, String>,
    /// The name of the edition, whose limits hold.
    pub edition: String,
    /// Kept as clients set it; xvirt does not use it.
    pub license_server: BTreeMap<String, String>,
    /// What its firmware says of the machine: `system-manufacturer` and others.
    pub bios_strings: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub power_on_mode: String,
    /// Not honoured: always empty.
    pub power_on_config: BTreeMap<String, String>,
    /// Not honoured: always the null reference.
    pub local_cache_sr: Ref<super::Sr>,
    /// `iommu`: whether it can give devices to VMs, which xvirt does not use yet.
    pub chipset_info: BTreeMap<String, String>,
    /// Not honoured: always empty.
    #[serde(rename = "PCIs")]
    pub pcis: Vec<Ref<super::Pci>>,
    /// Not honoured: always empty.
    #[serde(rename = "PGPUs")]
    pub pgpus: Vec<Ref<super::Pgpu>>,
    /// Not honoured: always empty.
    #[serde(rename = "PUSBs")]
    pub pusbs: Vec<Ref<super::Pusb>>,
    /// Not honoured: always `false`.
    pub ssl_legacy: bool,
    /// Not honoured: always empty.
    #[serde(rename = "guest_VCPUs_params")]
    pub guest_vcpus_params: BTreeMap<String, String>,
    /// Not honoured: always `disabled`.
    pub display: enums::HostDisplay,
    /// Not honoured: always `[0]`.
    pub virtual_hardware_platform_versions: Vec<i64>,
    /// The VM that stands for the host itself.
    pub control_domain: Ref<super::Vm>,
    /// Not honoured: always empty.
    pub updates_requiring_reboot: Vec<Ref<super::PoolUpdate>>,
    /// Not honoured: always empty.
    pub features: Vec<Ref<super::Feature>>,
    /// Not honoured: always empty.
    pub iscsi_iqn: String,
    /// Not honoured: always `false`.
    pub multipathing: bool,
    /// Not honoured: always empty.
    pub uefi_certificates: String,
    /// Its certificates.
    pub certificates: Vec<Ref<super::Certificate>>,
    /// The names of the editions that it can be given.
    pub editions: Vec<String>,
    /// Not honoured: always empty.
    pub pending_guidances: Vec<enums::UpdateGuidances>,
    /// Whether it verifies the certificates of other members.
    pub tls_verification_enabled: bool,
    /// Not honoured: always `19700101T00:00:00Z`.
    pub last_software_update: DateTime,
    /// Whether it refuses connections without TLS.
    pub https_only: bool,
    /// Not honoured: always `unknown`.
    pub latest_synced_updates_applied: enums::LatestSyncedUpdatesAppliedState,
    /// Not honoured: always `default_policy`.
    pub numa_affinity_policy: enums::HostNumaAffinityPolicy,
    /// Not honoured: always empty.
    pub pending_guidances_recommended: Vec<enums::UpdateGuidances>,
    /// Not honoured: always empty.
    pub pending_guidances_full: Vec<enums::UpdateGuidances>,
    /// Not honoured: always empty.
    pub last_update_hash: String,
    /// Not honoured: always `false`.
    pub ssh_enabled: bool,
    /// Not honoured: always `0`.
    pub ssh_enabled_timeout: i64,
    /// Not honoured: always `19700101T00:00:00Z`.
    pub ssh_expiry: DateTime,
    /// Not honoured: always `0`.
    pub console_idle_timeout: i64,
    /// Not honoured: always `false`.
    pub ssh_auto_mode: bool,
    /// Not honoured: always empty.
    pub max_cstate: String,
    /// Not honoured: always `false`.
    pub secure_boot: bool,
    /// Not honoured: always `Disabled`.
    pub ntp_mode: enums::HostNtpMode,
    /// Not honoured: always empty.
    pub ntp_custom_servers: Vec<String>,
    /// Not honoured: always `UTC`.
    pub timezone: String,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            name_label: String::new(),
            name_description: String::new(),
            memory_overhead: 0,
            allowed_operations: Vec::new(),
            current_operations: BTreeMap::new(),
            api_version_major: 0,
            api_version_minor: 0,
            api_version_vendor: String::new(),
            api_version_vendor_implementation: BTreeMap::new(),
            enabled: false,
            software_version: BTreeMap::new(),
            other_config: BTreeMap::new(),
            capabilities: Vec::new(),
            cpu_configuration: BTreeMap::new(),
            sched_policy: String::new(),
            supported_bootloaders: Vec::new(),
            resident_vms: Vec::new(),
            logging: BTreeMap::new(),
            pifs: Vec::new(),
            suspend_image_sr: Ref::NULL,
            crash_dump_sr: Ref::NULL,
            crashdumps: Vec::new(),
            patches: Vec::new(),
            updates: Vec::new(),
            pbds: Vec::new(),
            host_cpus: Vec::new(),
            cpu_info: BTreeMap::new(),
            hostname: String::new(),
            address: String::new(),
            metrics: Ref::NULL,
            license_params: BTreeMap::new(),
            ha_statefiles: Vec::new(),
            ha_network_peers: Vec::new(),
            blobs: BTreeMap::new(),
            tags: Vec::new(),
            external_auth_type: String::new(),
            external_auth_service_name: String::new(),
            external_auth_configuration: BTreeMap::new(),
            edition: String::new(),
            license_server: BTreeMap::new(),
            bios_strings: BTreeMap::new(),
            power_on_mode: String::new(),
            power_on_config: BTreeMap::new(),
            local_cache_sr: Ref::NULL,
            chipset_info: BTreeMap::new(),
            pcis: Vec::new(),
            pgpus: Vec::new(),
            pusbs: Vec::new(),
            ssl_legacy: false,
            guest_vcpus_params: BTreeMap::new(),
            display: enums::HostDisplay::Disabled,
            virtual_hardware_platform_versions: vec![0],
            control_domain: Ref::NULL,
            updates_requiring_reboot: Vec::new(),
            features: Vec::new(),
            iscsi_iqn: String::new(),
            multipathing: false,
            uefi_certificates: String::new(),
            certificates: Vec::new(),
            editions: Vec::new(),
            pending_guidances: Vec::new(),
            tls_verification_enabled: false,
            last_software_update: DateTime::EPOCH,
            https_only: false,
            latest_synced_updates_applied: enums::LatestSyncedUpdatesAppliedState::Unknown,
            numa_affinity_policy: enums::HostNumaAffinityPolicy::DefaultPolicy,
            pending_guidances_recommended: Vec::new(),
            pending_guidances_full: Vec::new(),
            last_update_hash: String::new(),
            ssh_enabled: false,
            ssh_enabled_timeout: 0,
            ssh_expiry: DateTime::EPOCH,
            console_idle_timeout: 0,
            ssh_auto_mode: false,
            max_cstate: String::new(),
            secure_boot: false,
            ntp_mode: enums::HostNtpMode::Disabled,
            ntp_custom_servers: Vec::new(),
            timezone: "UTC".to_owned(),
        }
    }
}

impl Record for Host {}

impl Class for Host {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "host",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("host"),
        record: &Type::Record("host"),
        whole: Some(whole::<Host>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("API_version_major", Type::Int).required().honoured(),
            Field::dynamic("API_version_minor", Type::Int).required().honoured(),
            Field::dynamic("API_version_vendor", Type::String).required().honoured(),
            Field::dynamic("API_version_vendor_implementation", Type::Map(&Type::String, &Type::String))
                .required()
                .honoured(),
            Field::dynamic("PBDs", Type::Set(&Type::Ref("PBD"))).required().honoured(),
            Field::dynamic("PCIs", Type::Set(&Type::Ref("PCI"))).required(),
            Field::dynamic("PGPUs", Type::Set(&Type::Ref("PGPU"))).required(),
            Field::dynamic("PIFs", Type::Set(&Type::Ref("PIF"))).required().honoured(),
            Field::dynamic("PUSBs", Type::Set(&Type::Ref("PUSB"))).required(),
            Field::writable("address", Type::String, Roles::POOL_OPERATOR).required().honoured(),
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::HostAllowedOperations::TABLE)))
                .honoured(),
            Field::dynamic("bios_strings", Type::Map(&Type::String, &Type::String)).honoured(),
            Field::dynamic("blobs", Type::Map(&Type::String, &Type::Ref("blob"))),
            Field::constant("capabilities", Type::Set(&Type::String)).required().honoured(),
            Field::dynamic("certificates", Type::Set(&Type::Ref("Certificate"))).required().honoured(),
            Field::dynamic("chipset_info", Type::Map(&Type::String, &Type::String)).honoured(),
            Field::dynamic("console_idle_timeout", Type::Int).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("control_domain", Type::Ref("VM")).honoured(),
            Field::dynamic("cpu_configuration", Type::Map(&Type::String, &Type::String)).required().honoured(),
            Field::dynamic("cpu_info", Type::Map(&Type::String, &Type::String)).honoured(),
            Field::writable("crash_dump_sr", Type::Ref("SR"), Roles::POOL_OPERATOR).required().kept(),
            Field::dynamic("crashdumps", Type::Set(&Type::Ref("host_crashdump"))).required(),
            Field::dynamic(
                "current_operations",
                Type::Map(&Type::String, &Type::Enum(enums::HostAllowedOperations::TABLE)),
            )
            .honoured(),
            Field::writable("display", Type::Enum(enums::HostDisplay::TABLE), Roles::POOL_OPERATOR)
                .starts_as(r#""disabled""#),
            Field::dynamic("edition", Type::String).honoured(),
            Field::dynamic("editions", Type::Set(&Type::String)).honoured(),
            Field::dynamic("enabled", Type::Bool).required().honoured(),
            Field::dynamic("external_auth_configuration", Type::Map(&Type::String, &Type::String)),
            Field::dynamic("external_auth_service_name", Type::String),
            Field::dynamic("external_auth_type", Type::String),
            Field::dynamic("features", Type::Set(&Type::Ref("Feature"))).required(),
            Field::writable("guest_VCPUs_params", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::dynamic("ha_network_peers", Type::Set(&Type::String)),
            Field::dynamic("ha_statefiles", Type::Set(&Type::String)),
            Field::dynamic("host_CPUs", Type::Set(&Type::Ref("host_cpu"))).required().honoured(),
            Field::writable("hostname", Type::String, Roles::POOL_OPERATOR).required().honoured(),
            Field::dynamic("https_only", Type::Bool).lifecycle(Lifecycle::Prototyped).honoured(),
            Field::constant("iscsi_iqn", Type::String),
            Field::dynamic("last_software_update", Type::DateTime).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("last_update_hash", Type::String).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("latest_synced_updates_applied", Type::Enum(enums::LatestSyncedUpdatesAppliedState::TABLE))
                .starts_as(r#""unknown""#)
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("license_params", Type::Map(&Type::String, &Type::String)).required().honoured(),
            Field::writable("license_server", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).kept(),
            Field::constant("local_cache_sr", Type::Ref("SR")),
            Field::writable("logging", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).required().kept(),
            Field::dynamic("max_cstate", Type::String).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("memory_overhead", Type::Int).honoured(),
            Field::dynamic("metrics", Type::Ref("host_metrics")).required().honoured(),
            Field::constant("multipathing", Type::Bool),
            Field::writable("name_description", Type::String, Roles::POOL_OPERATOR).honoured(),
            Field::writable("name_label", Type::String, Roles::POOL_OPERATOR).honoured(),
            Field::dynamic("ntp_custom_servers", Type::Set(&Type::String)).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("ntp_mode", Type::Enum(enums::HostNtpMode::TABLE))
                .starts_as(r#""Disabled""#)
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("numa_affinity_policy", Type::Enum(enums::HostNumaAffinityPolicy::TABLE))
                .starts_as(r#""default_policy""#)
                .lifecycle(Lifecycle::Prototyped),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR)
                .required()
                .kept(),
            Field::dynamic("patches", Type::Set(&Type::Ref("host_patch"))).required().lifecycle(Lifecycle::Deprecated),
            Field::dynamic("pending_guidances", Type::Set(&Type::Enum(enums::UpdateGuidances::TABLE))),
            Field::dynamic("pending_guidances_full", Type::Set(&Type::Enum(enums::UpdateGuidances::TABLE)))
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("pending_guidances_recommended", Type::Set(&Type::Enum(enums::UpdateGuidances::TABLE)))
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("power_on_config", Type::Map(&Type::String, &Type::String)),
            Field::dynamic("power_on_mode", Type::String),
            Field::dynamic("resident_VMs", Type::Set(&Type::Ref("VM"))).required().honoured(),
            Field::dynamic("sched_policy", Type::String).required(),
            Field::dynamic("secure_boot", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::constant("software_version", Type::Map(&Type::String, &Type::String)).required().honoured(),
            Field::dynamic("ssh_auto_mode", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("ssh_enabled", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("ssh_enabled_timeout", Type::Int).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("ssh_expiry", Type::DateTime).lifecycle(Lifecycle::Prototyped),
            Field::constant("ssl_legacy", Type::Bool).lifecycle(Lifecycle::Deprecated),
            Field::dynamic("supported_bootloaders", Type::Set(&Type::String)).required(),
            Field::writable("suspend_image_sr", Type::Ref("SR"), Roles::POOL_OPERATOR).required().honoured(),
            Field::writable("tags", Type::Set(&Type::String), Roles::VM_OPERATOR).kept(),
            Field::dynamic("timezone", Type::String).starts_as(r#""UTC""#).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("tls_verification_enabled", Type::Bool).honoured(),
            Field::constant("uefi_certificates", Type::String).lifecycle(Lifecycle::Deprecated),
            Field::dynamic("updates", Type::Set(&Type::Ref("pool_update"))).required(),
            Field::dynamic("updates_requiring_reboot", Type::Set(&Type::Ref("pool_update"))).required(),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::dynamic("virtual_hardware_platform_versions", Type::Set(&Type::Int)).starts_as("[0]"),
        ],
        verbs: &[
            Verb::new(
                "apply_edition",
                &[("host", Type::Ref("host")), ("edition", Type::String), ("force", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .optional(1),
            Verb::new("apply_recommended_guidances", &[("self", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Removed),
            Verb::new(
                "apply_updates",
                &[("self", Type::Ref("host")), ("hash", Type::String)],
                Type::Set(&Type::Set(&Type::String)),
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new("assert_can_evacuate", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "backup_rrds",
                &[("host", Type::Ref("host")), ("delay", Type::Float)],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "bugreport_upload",
                &[
                    ("host", Type::Ref("host")),
                    ("url", Type::String),
                    ("options", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "call_extension",
                &[("host", Type::Ref("host")), ("call", Type::String)],
                Type::String,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "call_plugin",
                &[
                    ("host", Type::Ref("host")),
                    ("plugin", Type::String),
                    ("fn", Type::String),
                    ("args", Type::Map(&Type::String, &Type::String)),
                ],
                Type::String,
                Roles::POOL_ADMIN,
            ),
            Verb::new("compute_free_memory", &[("host", Type::Ref("host"))], Type::Int, Roles::READ_ONLY),
            Verb::new("compute_memory_overhead", &[("host", Type::Ref("host"))], Type::Int, Roles::READ_ONLY),
            Verb::new(
                "create_new_blob",
                &[
                    ("host", Type::Ref("host")),
                    ("name", Type::String),
                    ("mime_type", Type::String),
                    ("public", Type::Bool),
                ],
                Type::Ref("blob"),
                Roles::POOL_OPERATOR,
            )
            .optional(1),
            Verb::new("declare_dead", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("destroy", &[("self", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "disable",
                &[("host", Type::Ref("host")), ("auto_enable", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .optional(1),
            Verb::new(
                "disable_display",
                &[("host", Type::Ref("host"))],
                Type::Enum(enums::HostDisplay::TABLE),
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "disable_external_auth",
                &[
                    ("host", Type::Ref("host")),
                    ("config", Type::Map(&Type::String, &Type::String)),
                    ("force", Type::Bool),
                ],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .optional(2),
            Verb::new(
                "disable_local_storage_caching",
                &[("host", Type::Ref("host"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("disable_ssh", &[("self", Type::Ref("host"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("dmesg", &[("host", Type::Ref("host"))], Type::String, Roles::POOL_OPERATOR),
            Verb::new("dmesg_clear", &[("host", Type::Ref("host"))], Type::String, Roles::POOL_OPERATOR),
            Verb::new("emergency_clear_mandatory_guidance", &[], Type::Void, Roles::NONE)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("emergency_disable_tls_verification", &[], Type::Void, Roles::NONE),
            Verb::new("emergency_ha_disable", &[("soft", Type::Bool)], Type::Void, Roles::POOL_OPERATOR).optional(1),
            Verb::new("emergency_reenable_tls_verification", &[], Type::Void, Roles::NONE),
            Verb::new("emergency_reset_server_certificate", &[], Type::Void, Roles::NONE),
            Verb::new("enable", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR.with_client_cert()),
            Verb::new(
                "enable_display",
                &[("host", Type::Ref("host"))],
                Type::Enum(enums::HostDisplay::TABLE),
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "enable_external_auth",
                &[
                    ("host", Type::Ref("host")),
                    ("config", Type::Map(&Type::String, &Type::String)),
                    ("service_name", Type::String),
                    ("auth_type", Type::String),
                ],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "enable_local_storage_caching",
                &[("host", Type::Ref("host")), ("sr", Type::Ref("SR"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("enable_ssh", &[("self", Type::Ref("host"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "evacuate",
                &[("host", Type::Ref("host")), ("network", Type::Ref("network")), ("evacuate_batch_size", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .optional(2),
            Verb::new(
                "external_auth_set_ldaps",
                &[("host", Type::Ref("host")), ("ldaps", Type::Bool), ("force", Type::Bool)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .optional(1),
            Verb::new(
                "forget_data_source_archives",
                &[("host", Type::Ref("host")), ("data_source", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "get_data_sources",
                &[("host", Type::Ref("host"))],
                Type::Set(&Type::Record("data_source")),
                Roles::READ_ONLY,
            ),
            Verb::new("get_log", &[("host", Type::Ref("host"))], Type::String, Roles::READ_ONLY),
            Verb::new(
                "get_management_interface",
                &[("host", Type::Ref("host"))],
                Type::Ref("PIF"),
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "get_ntp_servers_status",
                &[("self", Type::Ref("host"))],
                Type::Map(&Type::String, &Type::String),
                Roles::READ_ONLY,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new("get_ntp_synchronized", &[("self", Type::Ref("host"))], Type::Bool, Roles::READ_ONLY)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "get_sched_gran",
                &[("self", Type::Ref("host"))],
                Type::Enum(enums::HostSchedGran::TABLE),
                Roles::NONE,
            ),
            Verb::new("get_server_certificate", &[("host", Type::Ref("host"))], Type::String, Roles::READ_ONLY),
            Verb::new("get_server_localtime", &[("host", Type::Ref("host"))], Type::DateTime, Roles::READ_ONLY),
            Verb::new("get_servertime", &[("host", Type::Ref("host"))], Type::DateTime, Roles::READ_ONLY),
            Verb::new("get_system_status_capabilities", &[("host", Type::Ref("host"))], Type::String, Roles::READ_ONLY),
            Verb::new(
                "get_tracked_user_agents",
                &[("self", Type::Ref("host"))],
                Type::Map(&Type::String, &Type::String),
                Roles::READ_ONLY,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "get_uncooperative_resident_VMs",
                &[("self", Type::Ref("host"))],
                Type::Set(&Type::Ref("VM")),
                Roles::READ_ONLY,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "get_vms_which_prevent_evacuation",
                &[("self", Type::Ref("host"))],
                Type::Map(&Type::Ref("VM"), &Type::Set(&Type::String)),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "has_extension",
                &[("host", Type::Ref("host")), ("name", Type::String)],
                Type::Bool,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "install_server_certificate",
                &[
                    ("host", Type::Ref("host")),
                    ("certificate", Type::String),
                    ("private_key", Type::String),
                    ("certificate_chain", Type::String),
                ],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .optional(1),
            Verb::new(
                "license_add",
                &[("host", Type::Ref("host")), ("contents", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .errors(&["LICENSE_PROCESSING_ERROR"]),
            Verb::new(
                "license_apply",
                &[("host", Type::Ref("host")), ("contents", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .errors(&["LICENSE_PROCESSING_ERROR"])
            .lifecycle(Lifecycle::Removed),
            Verb::new("license_remove", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("list_methods", &[], Type::Set(&Type::String), Roles::READ_ONLY),
            Verb::new("list_timezones", &[("self", Type::Ref("host"))], Type::Set(&Type::String), Roles::READ_ONLY)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("local_management_reconfigure", &[("interface", Type::String)], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("management_disable", &[], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("management_reconfigure", &[("pif", Type::Ref("PIF"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "migrate_receive",
                &[
                    ("host", Type::Ref("host")),
                    ("network", Type::Ref("network")),
                    ("options", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Map(&Type::String, &Type::String),
                Roles::VM_POWER_ADMIN,
            ),
            Verb::new("power_on", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "query_data_source",
                &[("host", Type::Ref("host")), ("data_source", Type::String)],
                Type::Float,
                Roles::READ_ONLY,
            ),
            Verb::new("reboot", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "record_data_source",
                &[("host", Type::Ref("host")), ("data_source", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("refresh_pack_info", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("refresh_server_certificate", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_ADMIN),
            Verb::new("rescan_drivers", &[("self", Type::Ref("host"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("reset_cpu_features", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Removed),
            Verb::new("reset_server_certificate", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_ADMIN),
            Verb::new("restart_agent", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "retrieve_wlb_evacuate_recommendations",
                &[("self", Type::Ref("host"))],
                Type::Map(&Type::Ref("VM"), &Type::Set(&Type::String)),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "send_debug_keys",
                &[("host", Type::Ref("host")), ("keys", Type::String)],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "set_console_idle_timeout",
                &[("self", Type::Ref("host")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_cpu_features",
                &[("host", Type::Ref("host")), ("features", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_hostname_live",
                &[("host", Type::Ref("host")), ("hostname", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .errors(&["HOST_NAME_INVALID"]),
            Verb::new(
                "set_https_only",
                &[("self", Type::Ref("host")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_iscsi_iqn",
                &[("host", Type::Ref("host")), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_max_cstate",
                &[("self", Type::Ref("host")), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_multipathing",
                &[("host", Type::Ref("host")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_ntp_custom_servers",
                &[("self", Type::Ref("host")), ("value", Type::Set(&Type::String))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ntp_mode",
                &[("self", Type::Ref("host")), ("value", Type::Enum(enums::HostNtpMode::TABLE))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_numa_affinity_policy",
                &[("self", Type::Ref("host")), ("value", Type::Enum(enums::HostNumaAffinityPolicy::TABLE))],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_power_on_mode",
                &[
                    ("self", Type::Ref("host")),
                    ("power_on_mode", Type::String),
                    ("power_on_config", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_sched_gran",
                &[("self", Type::Ref("host")), ("value", Type::Enum(enums::HostSchedGran::TABLE))],
                Type::Void,
                Roles::NONE,
            ),
            Verb::new(
                "set_servertime",
                &[("self", Type::Ref("host")), ("value", Type::DateTime)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ssh_auto_mode",
                &[("self", Type::Ref("host")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ssh_enabled_timeout",
                &[("self", Type::Ref("host")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ssl_legacy",
                &[("self", Type::Ref("host")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_timezone",
                &[("self", Type::Ref("host")), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_uefi_certificates",
                &[("host", Type::Ref("host")), ("value", Type::String)],
                Type::Void,
                Roles::NONE,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new("shutdown", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("shutdown_agent", &[], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("sync_data", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_ADMIN),
            Verb::new("syslog_reconfigure", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
