// Written by scripts/model.
//! The classes of XenAPI, one file each, with its enumerations and error codes.

mod auth;
mod blob;
mod bond;
mod caller;
mod certificate;
mod cluster;
mod cluster_host;
mod console;
mod crashdump;
mod data_source;
mod dr_task;
mod driver_variant;
mod enums;
mod errors;
mod event;
mod feature;
mod gpu_group;
mod host;
mod host_cpu;
mod host_crashdump;
mod host_driver;
mod host_metrics;
mod host_patch;
mod lvhd;
mod message;
mod network;
mod network_sriov;
mod observer;
mod pbd;
mod pci;
mod pgpu;
mod pif;
mod pif_metrics;
mod pool;
mod pool_patch;
mod pool_update;
mod probe_result;
mod pusb;
mod pvs_cache_storage;
mod pvs_proxy;
mod pvs_server;
mod pvs_site;
mod rate_limit;
mod repository;
mod role;
mod sdn_controller;
mod secret;
mod session;
mod sm;
mod sr;
mod sr_stat;
mod subject;
mod task;
mod tunnel;
mod usb_group;
mod user;
mod vbd;
mod vbd_metrics;
mod vdi;
mod vdi_nbd_server_info;
mod vgpu;
mod vgpu_type;
mod vif;
mod vif_metrics;
mod vlan;
mod vm;
mod vm_appliance;
mod vm_group;
mod vm_guest_metrics;
mod vm_metrics;
mod vmpp;
mod vmss;
mod vtpm;
mod vusb;

pub use auth::Auth;
pub use blob::Blob;
pub use bond::Bond;
pub use caller::Caller;
pub use certificate::Certificate;
pub use cluster::Cluster;
pub use cluster_host::ClusterHost;
pub use console::Console;
pub use crashdump::Crashdump;
pub use data_source::DataSource;
pub use dr_task::DrTask;
pub use driver_variant::DriverVariant;
pub use enums::*;
pub use errors::ERROR_CODES;
pub use event::Event;
pub use feature::Feature;
pub use gpu_group::GpuGroup;
pub use host::Host;
pub use host_cpu::HostCpu;
pub use host_crashdump::HostCrashdump;
pub use host_driver::HostDriver;
pub use host_metrics::HostMetrics;
pub use host_patch::HostPatch;
pub use lvhd::Lvhd;
pub use message::Message;
pub use network::Network;
pub use network_sriov::NetworkSriov;
pub use observer::Observer;
pub use pbd::Pbd;
pub use pci::Pci;
pub use pgpu::Pgpu;
pub use pif::Pif;
pub use pif_metrics::PifMetrics;
pub use pool::Pool;
pub use pool_patch::PoolPatch;
pub use pool_update::PoolUpdate;
pub use probe_result::ProbeResult;
pub use pusb::Pusb;
pub use pvs_cache_storage::PvsCacheStorage;
pub use pvs_proxy::PvsProxy;
pub use pvs_server::PvsServer;
pub use pvs_site::PvsSite;
pub use rate_limit::RateLimit;
pub use repository::Repository;
pub use role::Role;
pub use sdn_controller::SdnController;
pub use secret::Secret;
pub use session::Session;
pub use sm::Sm;
pub use sr::Sr;
pub use sr_stat::SrStat;
pub use subject::Subject;
pub use task::Task;
pub use tunnel::Tunnel;
pub use usb_group::UsbGroup;
pub use user::User;
pub use vbd::Vbd;
pub use vbd_metrics::VbdMetrics;
pub use vdi::Vdi;
pub use vdi_nbd_server_info::VdiNbdServerInfo;
pub use vgpu::Vgpu;
pub use vgpu_type::VgpuType;
pub use vif::Vif;
pub use vif_metrics::VifMetrics;
pub use vlan::Vlan;
pub use vm::Vm;
pub use vm_appliance::VmAppliance;
pub use vm_group::VmGroup;
pub use vm_guest_metrics::VmGuestMetrics;
pub use vm_metrics::VmMetrics;
pub use vmpp::Vmpp;
pub use vmss::Vmss;
pub use vtpm::Vtpm;
pub use vusb::Vusb;

use super::{Class, ClassTable, Enumeration};

/// All classes, sorted by name.
pub static CLASSES: [&ClassTable; 72] = [
    Bond::TABLE,
    Caller::TABLE,
    Certificate::TABLE,
    Cluster::TABLE,
    ClusterHost::TABLE,
    DrTask::TABLE,
    DriverVariant::TABLE,
    Feature::TABLE,
    GpuGroup::TABLE,
    HostDriver::TABLE,
    Lvhd::TABLE,
    Observer::TABLE,
    Pbd::TABLE,
    Pci::TABLE,
    Pgpu::TABLE,
    Pif::TABLE,
    PifMetrics::TABLE,
    Pusb::TABLE,
    PvsCacheStorage::TABLE,
    PvsProxy::TABLE,
    PvsServer::TABLE,
    PvsSite::TABLE,
    RateLimit::TABLE,
    Repository::TABLE,
    SdnController::TABLE,
    Sm::TABLE,
    Sr::TABLE,
    UsbGroup::TABLE,
    Vbd::TABLE,
    VbdMetrics::TABLE,
    Vdi::TABLE,
    Vgpu::TABLE,
    VgpuType::TABLE,
    Vif::TABLE,
    VifMetrics::TABLE,
    Vlan::TABLE,
    Vm::TABLE,
    Vmpp::TABLE,
    Vmss::TABLE,
    VmAppliance::TABLE,
    VmGroup::TABLE,
    VmGuestMetrics::TABLE,
    VmMetrics::TABLE,
    Vtpm::TABLE,
    Vusb::TABLE,
    Auth::TABLE,
    Blob::TABLE,
    Console::TABLE,
    Crashdump::TABLE,
    DataSource::TABLE,
    Event::TABLE,
    Host::TABLE,
    HostCpu::TABLE,
    HostCrashdump::TABLE,
    HostMetrics::TABLE,
    HostPatch::TABLE,
    Message::TABLE,
    Network::TABLE,
    NetworkSriov::TABLE,
    Pool::TABLE,
    PoolPatch::TABLE,
    PoolUpdate::TABLE,
    ProbeResult::TABLE,
    Role::TABLE,
    Secret::TABLE,
    Session::TABLE,
    SrStat::TABLE,
    Subject::TABLE,
    Task::TABLE,
    Tunnel::TABLE,
    User::TABLE,
    VdiNbdServerInfo::TABLE,
];

/// All enumerations, sorted by name.
pub static ENUMERATIONS: [&Enumeration; 73] = [
    AfterApplyGuidance::TABLE,
    AllocationAlgorithm::TABLE,
    BondMode::TABLE,
    CertificatePurpose::TABLE,
    CertificateType::TABLE,
    MessageClass::TABLE,
    ClusterHostOperation::TABLE,
    ClusterOperation::TABLE,
    ConsoleProtocol::TABLE,
    DomainType::TABLE,
    EventOperation::TABLE,
    HostAllowedOperations::TABLE,
    HostDisplay::TABLE,
    HostNtpMode::TABLE,
    HostNumaAffinityPolicy::TABLE,
    HostSchedGran::TABLE,
    ImageFormatType::TABLE,
    IpConfigurationMode::TABLE,
    Ipv6ConfigurationMode::TABLE,
    LatestSyncedUpdatesAppliedState::TABLE,
    LivepatchStatus::TABLE,
    NetworkDefaultLockingMode::TABLE,
    NetworkOperations::TABLE,
    NetworkPurpose::TABLE,
    OnBoot::TABLE,
    OnCrashBehaviour::TABLE,
    OnNormalExit::TABLE,
    OnSoftrebootBehavior::TABLE,
    RepositoryOrigin::TABLE,
    PciDom0Access::TABLE,
    PersistenceBackend::TABLE,
    PifIgmpStatus::TABLE,
    PlacementPolicy::TABLE,
    PoolAllowedOperations::TABLE,
    PoolGuestSecurebootReadiness::TABLE,
    PrimaryAddressType::TABLE,
    PvsProxyStatus::TABLE,
    SdnControllerProtocol::TABLE,
    SrHealth::TABLE,
    SriovConfigurationMode::TABLE,
    StorageOperations::TABLE,
    TaskAllowedOperations::TABLE,
    TaskStatusType::TABLE,
    TelemetryFrequency::TABLE,
    TristateType::TABLE,
    TunnelProtocol::TABLE,
    UpdateAfterApplyGuidance::TABLE,
    UpdateGuidances::TABLE,
    UpdateSyncFrequency::TABLE,
    VbdMode::TABLE,
    VbdOperations::TABLE,
    VbdType::TABLE,
    VdiOperations::TABLE,
    VdiType::TABLE,
    VgpuTypeImplementation::TABLE,
    VifIpv4ConfigurationMode::TABLE,
    VifIpv6ConfigurationMode::TABLE,
    VifLockingMode::TABLE,
    VifOperations::TABLE,
    VmApplianceOperation::TABLE,
    VmOperations::TABLE,
    VmPowerState::TABLE,
    VmSecurebootCertificatesState::TABLE,
    VmSecurebootReadiness::TABLE,
    VmUefiMode::TABLE,
    VmppArchiveFrequency::TABLE,
    VmppArchiveTargetType::TABLE,
    VmppBackupFrequency::TABLE,
    VmppBackupType::TABLE,
    VmssFrequency::TABLE,
    VmssType::TABLE,
    VtpmOperations::TABLE,
    VusbOperations::TABLE,
];
