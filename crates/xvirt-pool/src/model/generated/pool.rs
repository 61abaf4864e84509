// Written by scripts/model.
//! The class `pool`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// The pool: the hosts that are managed as one. A host alone is a pool of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Pool {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name for people; several objects may have the same.
    pub name_label: String,
    /// The description for people.
    pub name_description: String,
    /// The host that coordinates the pool now.
    pub master: Ref<super::Host>,
    /// The repository for new disks when none is named.
    #[serde(rename = "default_SR")]
    pub default_sr: Ref<super::Sr>,
    /// The repository for the memory of suspended VMs that name none.
    #[serde(rename = "suspend_image_SR")]
    pub suspend_image_sr: Ref<super::Sr>,
    /// Kept as clients set it; xvirt does not use it.
    #[serde(rename = "crash_dump_SR")]
    pub crash_dump_sr: Ref<super::Sr>,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Not honoured: always `false`.
    pub ha_enabled: bool,
    /// Not honoured: always empty.
    pub ha_configuration: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub ha_statefiles: Vec<String>,
    /// Not honoured: always `0`.
    pub ha_host_failures_to_tolerate: i64,
    /// Not honoured: always `0`.
    pub ha_plan_exists_for: i64,
    /// Not honoured: always `false`.
    pub ha_allow_overcommit: bool,
    /// Not honoured: always `false`.
    pub ha_overcommitted: bool,
    /// Not honoured: always empty.
    pub blobs: BTreeMap<String, Ref<super::Blob>>,
    /// Kept as clients set it; xvirt does not use it.
    pub tags: Vec<String>,
    /// Kept as clients set it; xvirt does not use it.
    pub gui_config: BTreeMap<String, String>,
    /// Kept as clients set it; xvirt does not use it.
    pub health_check_config: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub wlb_url: String,
    /// Not honoured: always empty.
    pub wlb_username: String,
    /// Not honoured: always `false`.
    pub wlb_enabled: bool,
    /// Not honoured: always `false`.
    pub wlb_verify_cert: bool,
    /// Not honoured: always `false`.
    pub redo_log_enabled: bool,
    /// Not honoured: always the null reference.
    pub redo_log_vdi: Ref<super::Vdi>,
    /// Not honoured: always empty.
    pub vswitch_controller: String,
    /// What the edition does not allow: a key such as `restrict_vlan` is `true` then.
    pub restrictions: BTreeMap<String, String>,
    /// Not honoured: always empty.
    #[serde(rename = "metadata_VDIs")]
    pub metadata_vdis: Vec<Ref<super::Vdi>>,
    /// Not honoured: always empty.
    pub ha_cluster_stack: String,
    /// What may be done with it now. It is advice: each operation checks again.
    pub allowed_operations: Vec<enums::PoolAllowedOperations>,
    /// What is being done with it: the kind of the operation by the reference of its task.
    pub current_operations: BTreeMap<String, enums::PoolAllowedOperations>,
    /// Not honoured: always empty.
    pub guest_agent_config: BTreeMap<String, String>,
    /// The processor that every host can offer: `cpu_count`, `socket_count`, `vendor`, `features`.
    pub cpu_info: BTreeMap<String, String>,
    /// Not honoured: always `false`.
    pub policy_no_vendor_device: bool,
    /// Not honoured: always `false`.
    pub live_patching_disabled: bool,
    /// Not honoured: always `false`.
    pub igmp_snooping_enabled: bool,
    /// Not honoured: always empty.
    pub uefi_certificates: String,
    /// Not honoured: always empty.
    pub custom_uefi_certificates: String,
    /// Not honoured: always `false`.
    pub is_psr_pending: bool,
    /// Whether members verify the certificates of each other: always, in a pool of several hosts.
    pub tls_verification_enabled: bool,
    /// Not honoured: always empty.
    pub repositories: Vec<Ref<super::Repository>>,
    /// Not honoured: always `false`.
    pub client_certificate_auth_enabled: bool,
    /// Not honoured: always empty.
    pub client_certificate_auth_name: String,
    /// Not honoured: always empty.
    pub repository_proxy_url: String,
    /// Not honoured: always empty.
    pub repository_proxy_username: String,
    /// Not honoured: always the null reference.
    pub repository_proxy_password: Ref<super::Secret>,
    /// Not honoured: always `false`.
    pub migration_compression: bool,
    /// Whether VMs are placed on the coordinator only when no other host has room.
    pub coordinator_bias: bool,
    /// Not honoured: always `8`.
    pub local_auth_max_threads: i64,
    /// Not honoured: always `0`.
    pub ext_auth_max_threads: i64,
    /// Not honoured: always `false`.
    pub ext_auth_cache_enabled: bool,
    /// Not honoured: always `0`.
    pub ext_auth_cache_size: i64,
    /// Not honoured: always `0`.
    pub ext_auth_cache_expiry: i64,
    /// Not honoured: always the null reference.
    pub telemetry_uuid: Ref<super::Secret>,
    /// Not honoured: always `weekly`.
    pub telemetry_frequency: enums::TelemetryFrequency,
    /// Not honoured: always `19700101T00:00:00Z`.
    pub telemetry_next_collection: DateTime,
    /// Not honoured: always `19700101T00:00:00Z`.
    pub last_update_sync: DateTime,
    /// Not honoured: always `weekly`.
    pub update_sync_frequency: enums::UpdateSyncFrequency,
    /// Not honoured: always `0`.
    pub update_sync_day: i64,
    /// Not honoured: always `false`.
    pub update_sync_enabled: bool,
    /// Not honoured: always empty.
    pub recommendations: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub license_server: BTreeMap<String, String>,
    /// Not honoured: always `false`.
    pub ha_reboot_vm_on_internal_shutdown: bool,
    /// Not honoured: always `false`.
    pub limit_console_sessions: bool,
    /// Not honoured: always `0`.
    pub vm_console_idle_timeout: i64,
    /// Not honoured: always `false`.
    pub auto_update_vm_secureboot_certificates: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            name_label: String::new(),
            name_description: String::new(),
            master: Ref::NULL,
            default_sr: Ref::NULL,
            suspend_image_sr: Ref::NULL,
            crash_dump_sr: Ref::NULL,
            other_config: BTreeMap::new(),
            ha_enabled: false,
            ha_configuration: BTreeMap::new(),
            ha_statefiles: Vec::new(),
            ha_host_failures_to_tolerate: 0,
            ha_plan_exists_for: 0,
            ha_allow_overcommit: false,
            ha_overcommitted: false,
            blobs: BTreeMap::new(),
            tags: Vec::new(),
            gui_config: BTreeMap::new(),
            health_check_config: BTreeMap::new(),
            wlb_url: String::new(),
            wlb_username: String::new(),
            wlb_enabled: false,
            wlb_verify_cert: false,
            redo_log_enabled: false,
            redo_log_vdi: Ref::NULL,
            vswitch_controller: String::new(),
            restrictions: BTreeMap::new(),
            metadata_vdis: Vec::new(),
            ha_cluster_stack: String::new(),
            allowed_operations: Vec::new(),
            current_operations: BTreeMap::new(),
            guest_agent_config: BTreeMap::new(),
            cpu_info: BTreeMap::new(),
            policy_no_vendor_device: false,
            live_patching_disabled: false,
            igmp_snooping_enabled: false,
            uefi_certificates: String::new(),
            custom_uefi_certificates: String::new(),
            is_psr_pending: false,
            tls_verification_enabled: false,
            repositories: Vec::new(),
            client_certificate_auth_enabled: false,
            client_certificate_auth_name: String::new(),
            repository_proxy_url: String::new(),
            repository_proxy_username: String::new(),
            repository_proxy_password: Ref::NULL,
            migration_compression: false,
            coordinator_bias: true,
            local_auth_max_threads: 8,
            ext_auth_max_threads: 0,
            ext_auth_cache_enabled: false,
            ext_auth_cache_size: 0,
            ext_auth_cache_expiry: 0,
            telemetry_uuid: Ref::NULL,
            telemetry_frequency: enums::TelemetryFrequency::Weekly,
            telemetry_next_collection: DateTime::EPOCH,
            last_update_sync: DateTime::EPOCH,
            update_sync_frequency: enums::UpdateSyncFrequency::Weekly,
            update_sync_day: 0,
            update_sync_enabled: false,
            recommendations: BTreeMap::new(),
            license_server: BTreeMap::new(),
            ha_reboot_vm_on_internal_shutdown: false,
            limit_console_sessions: false,
            vm_console_idle_timeout: 0,
            auto_update_vm_secureboot_certificates: false,
        }
    }
}

impl Record for Pool {}

impl Class for Pool {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "pool",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("pool"),
        record: &Type::Record("pool"),
        whole: Some(whole::<Pool>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::PoolAllowedOperations::TABLE)))
                .honoured(),
            Field::writable("auto_update_vm_secureboot_certificates", Type::Bool, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("blobs", Type::Map(&Type::String, &Type::Ref("blob"))),
            Field::dynamic("client_certificate_auth_enabled", Type::Bool),
            Field::dynamic("client_certificate_auth_name", Type::String),
            Field::writable("coordinator_bias", Type::Bool, Roles::POOL_OPERATOR).starts_as("true").honoured(),
            Field::dynamic("cpu_info", Type::Map(&Type::String, &Type::String)).honoured(),
            Field::writable("crash_dump_SR", Type::Ref("SR"), Roles::POOL_OPERATOR).required().kept(),
            Field::dynamic(
                "current_operations",
                Type::Map(&Type::String, &Type::Enum(enums::PoolAllowedOperations::TABLE)),
            )
            .honoured(),
            Field::constant("custom_uefi_certificates", Type::String).lifecycle(Lifecycle::Prototyped),
            Field::writable("default_SR", Type::Ref("SR"), Roles::POOL_OPERATOR).required().honoured(),
            Field::dynamic("ext_auth_cache_enabled", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("ext_auth_cache_expiry", Type::Int).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("ext_auth_cache_size", Type::Int).lifecycle(Lifecycle::Prototyped),
            Field::constant("ext_auth_max_threads", Type::Int).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("guest_agent_config", Type::Map(&Type::String, &Type::String)),
            Field::writable("gui_config", Type::Map(&Type::String, &Type::String), Roles::VM_OPERATOR).kept(),
            Field::writable("ha_allow_overcommit", Type::Bool, Roles::POOL_OPERATOR),
            Field::dynamic("ha_cluster_stack", Type::String),
            Field::dynamic("ha_configuration", Type::Map(&Type::String, &Type::String)),
            Field::dynamic("ha_enabled", Type::Bool),
            Field::dynamic("ha_host_failures_to_tolerate", Type::Int),
            Field::dynamic("ha_overcommitted", Type::Bool),
            Field::dynamic("ha_plan_exists_for", Type::Int),
            Field::writable("ha_reboot_vm_on_internal_shutdown", Type::Bool, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("ha_statefiles", Type::Set(&Type::String)),
            Field::writable("health_check_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR)
                .kept(),
            Field::dynamic("igmp_snooping_enabled", Type::Bool),
            Field::writable("is_psr_pending", Type::Bool, Roles::POOL_OPERATOR),
            Field::dynamic("last_update_sync", Type::DateTime).lifecycle(Lifecycle::Prototyped),
            Field::writable("license_server", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Prototyped),
            Field::writable("limit_console_sessions", Type::Bool, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Prototyped),
            Field::writable("live_patching_disabled", Type::Bool, Roles::POOL_OPERATOR),
            Field::constant("local_auth_max_threads", Type::Int).starts_as("8").lifecycle(Lifecycle::Prototyped),
            Field::dynamic("master", Type::Ref("host")).required().honoured(),
            Field::dynamic("metadata_VDIs", Type::Set(&Type::Ref("VDI"))).required(),
            Field::writable("migration_compression", Type::Bool, Roles::POOL_OPERATOR).lifecycle(Lifecycle::Prototyped),
            Field::writable("name_description", Type::String, Roles::POOL_OPERATOR).required().honoured(),
            Field::writable("name_label", Type::String, Roles::POOL_OPERATOR).required().honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR)
                .required()
                .kept(),
            Field::writable("policy_no_vendor_device", Type::Bool, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Field::dynamic("recommendations", Type::Map(&Type::String, &Type::String)).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("redo_log_enabled", Type::Bool),
            Field::dynamic("redo_log_vdi", Type::Ref("VDI")),
            Field::dynamic("repositories", Type::Set(&Type::Ref("Repository"))),
            Field::dynamic("repository_proxy_password", Type::Ref("secret")),
            Field::dynamic("repository_proxy_url", Type::String),
            Field::dynamic("repository_proxy_username", Type::String),
            Field::dynamic("restrictions", Type::Map(&Type::String, &Type::String)).honoured(),
            Field::writable("suspend_image_SR", Type::Ref("SR"), Roles::POOL_OPERATOR).required().honoured(),
            Field::writable("tags", Type::Set(&Type::String), Roles::VM_OPERATOR).kept(),
            Field::dynamic("telemetry_frequency", Type::Enum(enums::TelemetryFrequency::TABLE))
                .starts_as(r#""weekly""#)
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("telemetry_next_collection", Type::DateTime).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("telemetry_uuid", Type::Ref("secret")).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("tls_verification_enabled", Type::Bool).honoured(),
            Field::constant("uefi_certificates", Type::String),
            Field::dynamic("update_sync_day", Type::Int).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("update_sync_enabled", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("update_sync_frequency", Type::Enum(enums::UpdateSyncFrequency::TABLE))
                .starts_as(r#""weekly""#)
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::writable("vm_console_idle_timeout", Type::Int, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("vswitch_controller", Type::String).lifecycle(Lifecycle::Deprecated),
            Field::writable("wlb_enabled", Type::Bool, Roles::POOL_OPERATOR.with_client_cert()),
            Field::dynamic("wlb_url", Type::String),
            Field::dynamic("wlb_username", Type::String),
            Field::writable("wlb_verify_cert", Type::Bool, Roles::POOL_OPERATOR).lifecycle(Lifecycle::Deprecated),
        ],
        verbs: &[
            Verb::new(
                "add_repository",
                &[("self", Type::Ref("pool")), ("value", Type::Ref("Repository"))],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new(
                "add_to_guest_agent_config",
                &[("self", Type::Ref("pool")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "apply_edition",
                &[("self", Type::Ref("pool")), ("edition", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "certificate_install",
                &[("name", Type::String), ("cert", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new("certificate_list", &[], Type::Set(&Type::String), Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("certificate_sync", &[], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("certificate_uninstall", &[("name", Type::String)], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "check_update_readiness",
                &[("self", Type::Ref("pool")), ("requires_reboot", Type::Bool)],
                Type::Set(&Type::Set(&Type::String)),
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new(
                "configure_repository_proxy",
                &[
                    ("self", Type::Ref("pool")),
                    ("url", Type::String),
                    ("username", Type::String),
                    ("password", Type::String),
                ],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new(
                "configure_update_sync",
                &[
                    ("self", Type::Ref("pool")),
                    ("update_sync_frequency", Type::Enum(enums::UpdateSyncFrequency::TABLE)),
                    ("update_sync_day", Type::Int),
                ],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "create_VLAN",
                &[("device", Type::String), ("network", Type::Ref("network")), ("VLAN", Type::Int)],
                Type::Set(&Type::Ref("PIF")),
                Roles::POOL_OPERATOR,
            )
            .errors(&["VLAN_TAG_INVALID"]),
            Verb::new(
                "create_VLAN_from_PIF",
                &[("pif", Type::Ref("PIF")), ("network", Type::Ref("network")), ("VLAN", Type::Int)],
                Type::Set(&Type::Ref("PIF")),
                Roles::POOL_OPERATOR,
            )
            .errors(&["VLAN_TAG_INVALID"]),
            Verb::new(
                "create_new_blob",
                &[
                    ("pool", Type::Ref("pool")),
                    ("name", Type::String),
                    ("mime_type", Type::String),
                    ("public", Type::Bool),
                ],
                Type::Ref("blob"),
                Roles::POOL_OPERATOR,
            )
            .optional(1),
            Verb::new(
                "crl_install",
                &[("name", Type::String), ("cert", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("crl_list", &[], Type::Set(&Type::String), Roles::POOL_OPERATOR),
            Verb::new("crl_uninstall", &[("name", Type::String)], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("deconfigure_wlb", &[], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("designate_new_master", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "detect_nonhomogeneous_external_auth",
                &[("pool", Type::Ref("pool"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "disable_client_certificate_auth",
                &[("self", Type::Ref("pool"))],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new(
                "disable_external_auth",
                &[("pool", Type::Ref("pool")), ("config", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .optional(1),
            Verb::new("disable_ha", &[], Type::Void, Roles::POOL_OPERATOR.with_client_cert()),
            Verb::new(
                "disable_local_storage_caching",
                &[("self", Type::Ref("pool"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("disable_redo_log", &[], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "disable_repository_proxy",
                &[("self", Type::Ref("pool"))],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new("disable_ssh", &[("self", Type::Ref("pool"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("disable_ssl_legacy", &[("self", Type::Ref("pool"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("eject", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("emergency_reset_master", &[("master_address", Type::String)], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("emergency_transition_to_master", &[], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "enable_client_certificate_auth",
                &[("self", Type::Ref("pool")), ("name", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new(
                "enable_external_auth",
                &[
                    ("pool", Type::Ref("pool")),
                    ("config", Type::Map(&Type::String, &Type::String)),
                    ("service_name", Type::String),
                    ("auth_type", Type::String),
                ],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "enable_ha",
                &[
                    ("heartbeat_srs", Type::Set(&Type::Ref("SR"))),
                    ("configuration", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new("enable_local_storage_caching", &[("self", Type::Ref("pool"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("enable_redo_log", &[("sr", Type::Ref("SR"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("enable_ssh", &[("self", Type::Ref("pool"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("enable_ssl_legacy", &[("self", Type::Ref("pool"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Removed),
            Verb::new("enable_tls_verification", &[], Type::Void, Roles::POOL_ADMIN),
            Verb::new(
                "external_auth_set_ldaps",
                &[("pool", Type::Ref("pool")), ("ldaps", Type::Bool), ("force", Type::Bool)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .optional(1),
            Verb::new(
                "get_guest_secureboot_readiness",
                &[("self", Type::Ref("pool"))],
                Type::Enum(enums::PoolGuestSecurebootReadiness::TABLE),
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "get_license_state",
                &[("self", Type::Ref("pool"))],
                Type::Map(&Type::String, &Type::String),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "ha_compute_hypothetical_max_host_failures_to_tolerate",
                &[("configuration", Type::Map(&Type::Ref("VM"), &Type::String))],
                Type::Int,
                Roles::READ_ONLY,
            ),
            Verb::new("ha_compute_max_host_failures_to_tolerate", &[], Type::Int, Roles::POOL_OPERATOR),
            Verb::new(
                "ha_compute_vm_failover_plan",
                &[("failed_hosts", Type::Set(&Type::Ref("host"))), ("failed_vms", Type::Set(&Type::Ref("VM")))],
                Type::Map(&Type::Ref("VM"), &Type::Map(&Type::String, &Type::String)),
                Roles::POOL_OPERATOR,
            ),
            Verb::new("ha_failover_plan_exists", &[("n", Type::Int)], Type::Bool, Roles::POOL_OPERATOR),
            Verb::new("ha_prevent_restarts_for", &[("seconds", Type::Int)], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "has_extension",
                &[("self", Type::Ref("pool")), ("name", Type::String)],
                Type::Bool,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "initialize_wlb",
                &[
                    ("wlb_url", Type::String),
                    ("wlb_username", Type::String),
                    ("wlb_password", Type::String),
                    ("xenserver_username", Type::String),
                    ("xenserver_password", Type::String),
                ],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "install_ca_certificate",
                &[("name", Type::String), ("cert", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "install_trusted_certificate",
                &[
                    ("self", Type::Ref("pool")),
                    ("ca", Type::Bool),
                    ("cert", Type::String),
                    ("purpose", Type::Set(&Type::Enum(enums::CertificatePurpose::TABLE))),
                ],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "join",
                &[
                    ("master_address", Type::String),
                    ("master_username", Type::String),
                    ("master_password", Type::String),
                ],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .errors(&["JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS"]),
            Verb::new(
                "join_force",
                &[
                    ("master_address", Type::String),
                    ("master_username", Type::String),
                    ("master_password", Type::String),
                ],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("management_reconfigure", &[("network", Type::Ref("network"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&[
                    "HA_IS_ENABLED",
                    "PIF_NOT_PRESENT",
                    "CANNOT_PLUG_BOND_SLAVE",
                    "PIF_INCOMPATIBLE_PRIMARY_ADDRESS_TYPE",
                    "PIF_HAS_NO_NETWORK_CONFIGURATION",
                    "PIF_HAS_NO_V6_NETWORK_CONFIGURATION",
                ]),
            Verb::new("recover_slaves", &[], Type::Set(&Type::Ref("host")), Roles::POOL_OPERATOR),
            Verb::new(
                "remove_from_guest_agent_config",
                &[("self", Type::Ref("pool")), ("key", Type::String)],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "remove_repository",
                &[("self", Type::Ref("pool")), ("value", Type::Ref("Repository"))],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new("reset_telemetry_uuid", &[("self", Type::Ref("pool"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("retrieve_wlb_configuration", &[], Type::Map(&Type::String, &Type::String), Roles::READ_ONLY),
            Verb::new(
                "retrieve_wlb_recommendations",
                &[],
                Type::Map(&Type::Ref("VM"), &Type::Set(&Type::String)),
                Roles::READ_ONLY,
            ),
            Verb::new("rotate_secret", &[], Type::Void, Roles::POOL_ADMIN).errors(&[
                "INTERNAL_ERROR",
                "HOST_IS_SLAVE",
                "CANNOT_CONTACT_HOST",
                "HA_IS_ENABLED",
                "NOT_SUPPORTED_DURING_UPGRADE",
            ]),
            Verb::new(
                "send_test_post",
                &[("host", Type::String), ("port", Type::Int), ("body", Type::String)],
                Type::String,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "send_wlb_configuration",
                &[("config", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_console_idle_timeout",
                &[("self", Type::Ref("pool")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_custom_uefi_certificates",
                &[("self", Type::Ref("pool")), ("value", Type::String)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ext_auth_cache_enabled",
                &[("self", Type::Ref("pool")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ext_auth_cache_expiry",
                &[("self", Type::Ref("pool")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ext_auth_cache_size",
                &[("self", Type::Ref("pool")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ext_auth_max_threads",
                &[("self", Type::Ref("pool")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ha_host_failures_to_tolerate",
                &[("self", Type::Ref("pool")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_https_only",
                &[("self", Type::Ref("pool")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_igmp_snooping_enabled",
                &[("self", Type::Ref("pool")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_local_auth_max_threads",
                &[("self", Type::Ref("pool")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_repositories",
                &[("self", Type::Ref("pool")), ("value", Type::Set(&Type::Ref("Repository")))],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new(
                "set_ssh_auto_mode",
                &[("self", Type::Ref("pool")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_ssh_enabled_timeout",
                &[("self", Type::Ref("pool")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_telemetry_next_collection",
                &[("self", Type::Ref("pool")), ("value", Type::DateTime)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_uefi_certificates",
                &[("self", Type::Ref("pool")), ("value", Type::String)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "set_update_sync_enabled",
                &[("self", Type::Ref("pool")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new("set_vswitch_controller", &[("address", Type::String)], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("sync_database", &[], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "sync_trusted_certificates_from",
                &[
                    ("self", Type::Ref("pool")),
                    ("remote_pool", Type::String),
                    ("remote_session", Type::Ref("session")),
                    ("remote_certificate", Type::String),
                    ("ca", Type::Bool),
                ],
                Type::Set(&Type::Ref("Certificate")),
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "sync_updates",
                &[
                    ("self", Type::Ref("pool")),
                    ("force", Type::Bool),
                    ("token", Type::String),
                    ("token_id", Type::String),
                    ("username", Type::String),
                    ("password", Type::String),
                ],
                Type::String,
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .optional(4),
            Verb::new(
                "test_archive_target",
                &[("self", Type::Ref("pool")), ("config", Type::Map(&Type::String, &Type::String))],
                Type::String,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "uninstall_ca_certificate",
                &[("name", Type::String), ("force", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .optional(1)
            .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "uninstall_trusted_certificate",
                &[("self", Type::Ref("pool")), ("certificate", Type::Ref("Certificate"))],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .lifecycle(Lifecycle::Prototyped),
        ],
    };
}
