// Written by scripts/model.
//! The enumerations of XenAPI.

use crate::model::enumeration::enumeration;

enumeration!(AfterApplyGuidance = "after_apply_guidance" {
    RestartHvm = "restartHVM",
    RestartPv = "restartPV",
    RestartHost = "restartHost",
    RestartXapi = "restartXAPI",
});
enumeration!(AllocationAlgorithm = "allocation_algorithm" {
    BreadthFirst = "breadth_first",
    DepthFirst = "depth_first",
});
enumeration!(BondMode = "bond_mode" {
    BalanceSlb = "balance-slb",
    ActiveBackup = "active-backup",
    Lacp = "lacp",
});
enumeration!(CertificatePurpose = "certificate_purpose" {
    Licensing = "licensing",
    Ldaps = "ldaps",
});
enumeration!(CertificateType = "certificate_type" {
    Ca = "ca",
    Host = "host",
    HostInternal = "host_internal",
    Pinned = "pinned",
});
enumeration!(MessageClass = "cls" {
    Vm = "VM",
    Host = "Host",
    Sr = "SR",
    Pool = "Pool",
    Vmpp = "VMPP",
    Vmss = "VMSS",
    PvsProxy = "PVS_proxy",
    Vdi = "VDI",
    Certificate = "Certificate",
});
enumeration!(ClusterHostOperation = "cluster_host_operation" {
    Enable = "enable",
    Disable = "disable",
    Destroy = "destroy",
});
enumeration!(ClusterOperation = "cluster_operation" {
    Add = "add",
    Remove = "remove",
    Enable = "enable",
    Disable = "disable",
    Destroy = "destroy",
});
enumeration!(ConsoleProtocol = "console_protocol" {
    Vt100 = "vt100",
    Rfb = "rfb",
    Rdp = "rdp",
});
enumeration!(DomainType = "domain_type" {
    Hvm = "hvm",
    Pv = "pv",
    PvInPvh = "pv_in_pvh",
    Pvh = "pvh",
    Unspecified = "unspecified",
});
enumeration!(EventOperation = "event_operation" {
    Add = "add",
    Del = "del",
    Mod = "mod",
});
enumeration!(HostAllowedOperations = "host_allowed_operations" {
    Provision = "provision",
    Evacuate = "evacuate",
    Shutdown = "shutdown",
    Reboot = "reboot",
    PowerOn = "power_on",
    VmStart = "vm_start",
    VmResume = "vm_resume",
    VmMigrate = "vm_migrate",
    ApplyUpdates = "apply_updates",
    Enable = "enable",
});
enumeration!(HostDisplay = "host_display" {
    Enabled = "enabled",
    DisableOnReboot = "disable_on_reboot",
    Disabled = "disabled",
    EnableOnReboot = "enable_on_reboot",
});
enumeration!(HostNtpMode = "host_ntp_mode" {
    Dhcp = "DHCP",
    Custom = "Custom",
    Factory = "Factory",
    Disabled = "Disabled",
});
enumeration!(HostNumaAffinityPolicy = "host_numa_affinity_policy" {
    Any = "any",
    BestEffort = "best_effort",
    DefaultPolicy = "default_policy",
});
enumeration!(HostSchedGran = "host_sched_gran" {
    Core = "core",
    Cpu = "cpu",
    Socket = "socket",
});
enumeration!(ImageFormatType = "image_format_type" {
    Raw = "raw",
    Vhd = "vhd",
    Qcow2 = "qcow2",
});
enumeration!(IpConfigurationMode = "ip_configuration_mode" {
    None = "None",
    Dhcp = "DHCP",
    Static = "Static",
});
enumeration!(Ipv6ConfigurationMode = "ipv6_configuration_mode" {
    None = "None",
    Dhcp = "DHCP",
    Static = "Static",
    Autoconf = "Autoconf",
});
enumeration!(LatestSyncedUpdatesAppliedState = "latest_synced_updates_applied_state" {
    Yes = "yes",
    No = "no",
    Unknown = "unknown",
});
enumeration!(LivepatchStatus = "livepatch_status" {
    OkLivepatchComplete = "ok_livepatch_complete",
    OkLivepatchIncomplete = "ok_livepatch_incomplete",
    Ok = "ok",
});
enumeration!(NetworkDefaultLockingMode = "network_default_locking_mode" {
    Unlocked = "unlocked",
    Disabled = "disabled",
});
enumeration!(NetworkOperations = "network_operations" {
    Attaching = "attaching",
});
enumeration!(NetworkPurpose = "network_purpose" {
    Nbd = "nbd",
    InsecureNbd = "insecure_nbd",
});
enumeration!(OnBoot = "on_boot" {
    Reset = "reset",
    Persist = "persist",
});
enumeration!(OnCrashBehaviour = "on_crash_behaviour" {
    Destroy = "destroy",
    CoredumpAndDestroy = "coredump_and_destroy",
    Restart = "restart",
    CoredumpAndRestart = "coredump_and_restart",
    Preserve = "preserve",
    RenameRestart = "rename_restart",
});
enumeration!(OnNormalExit = "on_normal_exit" {
    Destroy = "destroy",
    Restart = "restart",
});
enumeration!(OnSoftrebootBehavior = "on_softreboot_behavior" {
    SoftReboot = "soft_reboot",
    Destroy = "destroy",
    Restart = "restart",
    Preserve = "preserve",
});
enumeration!(RepositoryOrigin = "origin" {
    Remote = "remote",
    Bundle = "bundle",
    RemotePool = "remote_pool",
});
enumeration!(PciDom0Access = "pci_dom0_access" {
    Enabled = "enabled",
    DisableOnReboot = "disable_on_reboot",
    Disabled = "disabled",
    EnableOnReboot = "enable_on_reboot",
});
enumeration!(PersistenceBackend = "persistence_backend" {
    Xapi = "xapi",
});
enumeration!(PifIgmpStatus = "pif_igmp_status" {
    Enabled = "enabled",
    Disabled = "disabled",
    Unknown = "unknown",
});
enumeration!(PlacementPolicy = "placement_policy" {
    AntiAffinity = "anti_affinity",
    Normal = "normal",
});
enumeration!(PoolAllowedOperations = "pool_allowed_operations" {
    HaEnable = "ha_enable",
    HaDisable = "ha_disable",
    ClusterCreate = "cluster_create",
    DesignateNewMaster = "designate_new_master",
    ConfigureRepositories = "configure_repositories",
    SyncUpdates = "sync_updates",
    SyncBundle = "sync_bundle",
    GetUpdates = "get_updates",
    ApplyUpdates = "apply_updates",
    TlsVerificationEnable = "tls_verification_enable",
    CertRefresh = "cert_refresh",
    ExchangeCertificatesOnJoin = "exchange_certificates_on_join",
    ExchangeCaCertificatesOnJoin = "exchange_ca_certificates_on_join",
    CopyPrimaryHostCerts = "copy_primary_host_certs",
    Eject = "eject",
    ExchangeCrlsOnJoin = "exchange_crls_on_join",
});
enumeration!(PoolGuestSecurebootReadiness = "pool_guest_secureboot_readiness" {
    Ready = "ready",
    ReadyNoDbx = "ready_no_dbx",
    NotReady = "not_ready",
});
enumeration!(PrimaryAddressType = "primary_address_type" {
    Ipv4 = "IPv4",
    Ipv6 = "IPv6",
});
enumeration!(PvsProxyStatus = "pvs_proxy_status" {
    Stopped = "stopped",
    Initialised = "initialised",
    Caching = "caching",
    IncompatibleWriteCacheMode = "incompatible_write_cache_mode",
    IncompatibleProtocolVersion = "incompatible_protocol_version",
});
enumeration!(SdnControllerProtocol = "sdn_controller_protocol" {
    Ssl = "ssl",
    Pssl = "pssl",
});
enumeration!(SrHealth = "sr_health" {
    Healthy = "healthy",
    Recovering = "recovering",
    Unreachable = "unreachable",
    Unavailable = "unavailable",
});
enumeration!(SriovConfigurationMode = "sriov_configuration_mode" {
    Sysfs = "sysfs",
    Modprobe = "modprobe",
    Manual = "manual",
    Unknown = "unknown",
});
enumeration!(StorageOperations = "storage_operations" {
    Scan = "scan",
    Destroy = "destroy",
    Forget = "forget",
    Plug = "plug",
    Unplug = "unplug",
    Update = "update",
    VdiCreate = "vdi_create",
    VdiIntroduce = "vdi_introduce",
    VdiDestroy = "vdi_destroy",
    VdiResize = "vdi_resize",
    VdiClone = "vdi_clone",
    VdiSnapshot = "vdi_snapshot",
    VdiMirror = "vdi_mirror",
    VdiEnableCbt = "vdi_enable_cbt",
    VdiDisableCbt = "vdi_disable_cbt",
    VdiDataDestroy = "vdi_data_destroy",
    VdiListChangedBlocks = "vdi_list_changed_blocks",
    VdiSetOnBoot = "vdi_set_on_boot",
    VdiBlocked = "vdi_blocked",
    VdiCopy = "vdi_copy",
    VdiForceUnlock = "vdi_force_unlock",
    VdiForget = "vdi_forget",
    VdiGenerateConfig = "vdi_generate_config",
    VdiResizeOnline = "vdi_resize_online",
    VdiUpdate = "vdi_update",
    VdiRevert = "vdi_revert",
    PbdCreate = "pbd_create",
    PbdDestroy = "pbd_destroy",
});
enumeration!(TaskAllowedOperations = "task_allowed_operations" {
    Cancel = "cancel",
    Destroy = "destroy",
});
enumeration!(TaskStatusType = "task_status_type" {
    Pending = "pending",
    Success = "success",
    Failure = "failure",
    Cancelling = "cancelling",
    Cancelled = "cancelled",
});
enumeration!(TelemetryFrequency = "telemetry_frequency" {
    Daily = "daily",
    Weekly = "weekly",
    Monthly = "monthly",
});
enumeration!(TristateType = "tristate_type" {
    Yes = "yes",
    No = "no",
    Unspecified = "unspecified",
});
enumeration!(TunnelProtocol = "tunnel_protocol" {
    Gre = "gre",
    Vxlan = "vxlan",
});
enumeration!(UpdateAfterApplyGuidance = "update_after_apply_guidance" {
    RestartHvm = "restartHVM",
    RestartPv = "restartPV",
    RestartHost = "restartHost",
    RestartXapi = "restartXAPI",
});
enumeration!(UpdateGuidances = "update_guidances" {
    RebootHost = "reboot_host",
    RebootHostOnLivepatchFailure = "reboot_host_on_livepatch_failure",
    RebootHostOnKernelLivepatchFailure = "reboot_host_on_kernel_livepatch_failure",
    RebootHostOnXenLivepatchFailure = "reboot_host_on_xen_livepatch_failure",
    RestartToolstack = "restart_toolstack",
    RestartDeviceModel = "restart_device_model",
    RestartVm = "restart_vm",
});
enumeration!(UpdateSyncFrequency = "update_sync_frequency" {
    Daily = "daily",
    Weekly = "weekly",
});
enumeration!(VbdMode = "vbd_mode" {
    Ro = "RO",
    Rw = "RW",
});
enumeration!(VbdOperations = "vbd_operations" {
    Attach = "attach",
    Eject = "eject",
    Insert = "insert",
    Plug = "plug",
    Unplug = "unplug",
    UnplugForce = "unplug_force",
    Pause = "pause",
    Unpause = "unpause",
});
enumeration!(VbdType = "vbd_type" {
    Cd = "CD",
    Disk = "Disk",
    Floppy = "Floppy",
});
enumeration!(VdiOperations = "vdi_operations" {
    Clone = "clone",
    Copy = "copy",
    Resize = "resize",
    ResizeOnline = "resize_online",
    Snapshot = "snapshot",
    Mirror = "mirror",
    Destroy = "destroy",
    Forget = "forget",
    Update = "update",
    ForceUnlock = "force_unlock",
    GenerateConfig = "generate_config",
    EnableCbt = "enable_cbt",
    DisableCbt = "disable_cbt",
    DataDestroy = "data_destroy",
    ListChangedBlocks = "list_changed_blocks",
    SetOnBoot = "set_on_boot",
    Blocked = "blocked",
    RevertTo = "revert_to",
    RevertFrom = "revert_from",
});
enumeration!(VdiType = "vdi_type" {
    System = "system",
    User = "user",
    Ephemeral = "ephemeral",
    Suspend = "suspend",
    Crashdump = "crashdump",
    HaStatefile = "ha_statefile",
    Metadata = "metadata",
    RedoLog = "redo_log",
    Rrd = "rrd",
    PvsCache = "pvs_cache",
    CbtMetadata = "cbt_metadata",
});
enumeration!(VgpuTypeImplementation = "vgpu_type_implementation" {
    Passthrough = "passthrough",
    Nvidia = "nvidia",
    NvidiaSriov = "nvidia_sriov",
    GvtG = "gvt_g",
    Mxgpu = "mxgpu",
});
enumeration!(VifIpv4ConfigurationMode = "vif_ipv4_configuration_mode" {
    None = "None",
    Static = "Static",
    Dhcp = "DHCP",
});
enumeration!(VifIpv6ConfigurationMode = "vif_ipv6_configuration_mode" {
    None = "None",
    Static = "Static",
    Autoconf = "Autoconf",
});
enumeration!(VifLockingMode = "vif_locking_mode" {
    NetworkDefault = "network_default",
    Locked = "locked",
    Unlocked = "unlocked",
    Disabled = "disabled",
});
enumeration!(VifOperations = "vif_operations" {
    Attach = "attach",
    Plug = "plug",
    Unplug = "unplug",
});
enumeration!(VmApplianceOperation = "vm_appliance_operation" {
    Start = "start",
    CleanShutdown = "clean_shutdown",
    HardShutdown = "hard_shutdown",
    Shutdown = "shutdown",
});
enumeration!(VmOperations = "vm_operations" {
    Snapshot = "snapshot",
    Clone = "clone",
    Copy = "copy",
    CreateTemplate = "create_template",
    Revert = "revert",
    Checkpoint = "checkpoint",
    SnapshotWithQuiesce = "snapshot_with_quiesce",
    Provision = "provision",
    Start = "start",
    StartOn = "start_on",
    Pause = "pause",
    Unpause = "unpause",
    CleanShutdown = "clean_shutdown",
    CleanReboot = "clean_reboot",
    HardShutdown = "hard_shutdown",
    PowerStateReset = "power_state_reset",
    HardReboot = "hard_reboot",
    Suspend = "suspend",
    Csvm = "csvm",
    Resume = "resume",
    ResumeOn = "resume_on",
    PoolMigrate = "pool_migrate",
    MigrateSend = "migrate_send",
    GetBootRecord = "get_boot_record",
    SendSysrq = "send_sysrq",
    SendTrigger = "send_trigger",
    QueryServices = "query_services",
    Shutdown = "shutdown",
    CallPlugin = "call_plugin",
    ChangingMemoryLive = "changing_memory_live",
    AwaitingMemoryLive = "awaiting_memory_live",
    ChangingDynamicRange = "changing_dynamic_range",
    ChangingStaticRange = "changing_static_range",
    ChangingMemoryLimits = "changing_memory_limits",
    ChangingShadowMemory = "changing_shadow_memory",
    ChangingShadowMemoryLive = "changing_shadow_memory_live",
    ChangingVcpus = "changing_VCPUs",
    ChangingVcpusLive = "changing_VCPUs_live",
    ChangingNvram = "changing_NVRAM",
    AssertOperationValid = "assert_operation_valid",
    DataSourceOp = "data_source_op",
    UpdateAllowedOperations = "update_allowed_operations",
    MakeIntoTemplate = "make_into_template",
    Import = "import",
    Export = "export",
    MetadataExport = "metadata_export",
    Reverting = "reverting",
    Destroy = "destroy",
    CreateVtpm = "create_vtpm",
    Sysprep = "sysprep",
});
enumeration!(VmPowerState = "vm_power_state" {
    Halted = "Halted",
    Paused = "Paused",
    Running = "Running",
    Suspended = "Suspended",
});
enumeration!(VmSecurebootCertificatesState = "vm_secureboot_certificates_state" {
    Ok = "ok",
    UpdateAvailable = "update_available",
    UpdateOnBoot = "update_on_boot",
});
enumeration!(VmSecurebootReadiness = "vm_secureboot_readiness" {
    NotSupported = "not_supported",
    Disabled = "disabled",
    FirstBoot = "first_boot",
    Ready = "ready",
    ReadyNoDbx = "ready_no_dbx",
    SetupMode = "setup_mode",
    CertsIncomplete = "certs_incomplete",
});
enumeration!(VmUefiMode = "vm_uefi_mode" {
    Setup = "setup",
    User = "user",
});
enumeration!(VmppArchiveFrequency = "vmpp_archive_frequency" {
    Never = "never",
    AlwaysAfterBackup = "always_after_backup",
    Daily = "daily",
    Weekly = "weekly",
});
enumeration!(VmppArchiveTargetType = "vmpp_archive_target_type" {
    None = "none",
    Cifs = "cifs",
    Nfs = "nfs",
});
enumeration!(VmppBackupFrequency = "vmpp_backup_frequency" {
    Hourly = "hourly",
    Daily = "daily",
    Weekly = "weekly",
});
enumeration!(VmppBackupType = "vmpp_backup_type" {
    Snapshot = "snapshot",
    Checkpoint = "checkpoint",
});
enumeration!(VmssFrequency = "vmss_frequency" {
    Hourly = "hourly",
    Daily = "daily",
    Weekly = "weekly",
});
enumeration!(VmssType = "vmss_type" {
    Snapshot = "snapshot",
    Checkpoint = "checkpoint",
    SnapshotWithQuiesce = "snapshot_with_quiesce",
});
enumeration!(VtpmOperations = "vtpm_operations" {
    Destroy = "destroy",
});
enumeration!(VusbOperations = "vusb_operations" {
    Attach = "attach",
    Plug = "plug",
    Unplug = "unplug",
});
