//! Tests that every public record can be serialized, and how other languages see it: as JSON.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::*;

/// Public types that are not records: handles, what has one in it, and builders of the demo guest.
const HANDLES: [&str; 44] = [
    "Archive",
    "ArrivingVm",
    "BootMenu",
    "CommandLine",
    "ConnectionAttachment",
    "Console",
    "ConsoleReader",
    "ConsoleWriter",
    "Descriptor",
    "Error",
    "EventReceiver",
    "FrameStream",
    "FrozenFileSystems",
    "GuestAgent",
    "GuestSlice",
    "ImageDescriptor",
    "Imported",
    "MetricsPublisher",
    "Mode",
    "Original",
    "PtyAttachment",
    "Repository",
    "Snapshot",
    "SnapshotView",
    "SocketAttachment",
    "Sockets",
    "Source",
    "Stage",
    "StoredVm",
    "StreamingDisk",
    "StreamingImport",
    "Subject",
    "SuspendedVm",
    "Tap",
    "Template",
    "Tls",
    "Vm",
    "VsockListener",
    // Public in private modules only.
    "IoError",
    "Place",
    "Buckets",
    "Bucket",
    "Shared",
    "Fake",
];

/// Public records that are only shown, and tested here by values.
const SHOWN: [&str; 7] =
    ["BackingFile", "BootEntry", "BootSource", "DiskPath", "Extracted", "ImageInfo", "OverlayKind"];

/// What is wrong with a type.
type Fault = std::result::Result<(), String>;

/// Checks that complete JSON becomes a value, and the same JSON again.
fn record<T: Serialize + DeserializeOwned>(given: Value) -> Fault {
    let value: T = serde_json::from_value(given.clone()).map_err(|error| error.to_string())?;
    let shown = serde_json::to_value(&value).map_err(|error| error.to_string())?;
    if shown == given { Ok(()) } else { Err(format!("{given} became {shown}")) }
}

/// Checks that the rest of incomplete settings has defaults, and that nothing given is lost.
fn settings<T: Serialize + DeserializeOwned>(given: Value) -> Fault {
    let value: T = serde_json::from_value(given.clone()).map_err(|error| error.to_string())?;
    let whole = serde_json::to_value(&value).map_err(|error| error.to_string())?;
    if !contains(&whole, &given) {
        return Err(format!("{given} became {whole}"));
    }
    record::<T>(whole)
}

fn contains(whole: &Value, part: &Value) -> bool {
    match part {
        Value::Object(fields) => fields.iter().all(|(field, value)| contains(&whole[field], value)),
        part => whole == part,
    }
}

/// Checks that all variants of a plain enumeration are these texts.
fn variants<T: Serialize + DeserializeOwned>(texts: Value) -> Fault {
    texts.as_array().unwrap().iter().try_for_each(|text| record::<T>(text.clone()))
}

/// What is shown of a record.
fn shown(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// Defines the tests, and the names of the tested types.
macro_rules! tested {
    ($($test:ident: $kind:ident { $($type:ty => $json:tt,)* })*) => {
        const TESTED: &[&str] = &[$($(stringify!($type),)*)*];

        $(
            #[test]
            fn $test() {
                let mut faults = Vec::new();
                $(faults.extend($kind::<$type>(json!($json)).err().map(|fault| (stringify!($type), fault)));)*
                assert!(faults.is_empty(), "{faults:#?}");
            }
        )*
    };
}

tested! {
    records_keep_all_they_have: record {
        agent::AgentCommand => { "name": "guest-exec", "enabled": true },
        agent::AgentFailure => { "class": "GenericError", "description": "no" },
        agent::CommandOutput => {
            "status": { "exited": 3 }, "stdout": [104, 105], "stderr": [], "stdout_truncated": false,
            "stderr_truncated": true,
        },
        agent::AgentInfo => {
            "version": "7.2", "supported_commands": [{ "name": "guest-exec", "enabled": true }],
        },
        agent::NetworkInterface => {
            "name": "eth0", "mac": "52:54:00:12:34:56", "addresses": [{ "address": "192.0.2.7", "prefix": 24 }],
        },
        agent::GuestAddress => { "address": "2001:db8::7", "prefix": 64 },
        agent::CommandStatus => { "signalled": 9 },
        boot::BootFiles => { "kernel": [1, 2], "initrd": [3], "command_line": "quiet" },
        boot::EntryChoice => { "title": "Debian" },
        config::CpuidMask => { "leaf": 7, "subleaf": 0, "register": "ebx", "clear": 1 },
        config::CpuBaseline => {
            "vendor": "AuthenticAMD", "features": [{ "leaf": 1, "subleaf": 0, "register": "ecx", "bits": 7 }],
        },
        config::PortForward => { "protocol": "tcp", "host_address": null, "host_port": 2222, "guest_port": 22 },
        config::ByteSize => 1073741824,
        host::Cpus => {
            "vendor": "AuthenticAMD", "model": "EPYC", "logical": 2, "cores": 2, "sockets": 1, "numa_nodes": 1,
            "virtualization": "AMD-V", "is_guest": false,
        },
        host::KvmCapabilities => {
            "api_version": 12, "user_memory": true, "irqchip": true, "irqfd": true, "ioeventfd": true,
            "signal_msi": true, "immediate_exit": true, "split_irqchip": true, "x2apic_api": true, "dirty_log": true,
            "dirty_ring": 65536, "msr_filter": true, "xsave2": 4096, "tsc_control": true, "nested_state": true,
            "guest_memfd": false, "max_vcpus": 1024, "recommended_vcpus": 4, "max_memory_slots": 32764,
        },
        host::KvmStatus => { "status": "absent", "cause": "not-loaded" },
        host::HostProblem => { "what": "a", "consequence": "b", "remedy": "c" },
        host::HugePages => { "page_size": 2, "total": 1, "free": 0 },
        host::Memory => { "total": 2, "available": 1, "huge_pages": [], "transparent_huge_pages": "madvise" },
        net::MacAddress => "52:54:00:12:34:56",
        progress::Done => { "bytes": 1, "total": null },
        repository::Check => {
            "vms": 1, "templates": 2, "snapshots": 0, "problems": [{ "what": "it is gone", "remedy": "restore it" }],
        },
        repository::Lineage => {
            "template": "67e55044-10b1-426f-9247-bb680e5fe0c8", "name": "debian", "version": "12",
        },
        repository::Problem => { "what": "it is gone", "remedy": "restore it" },
        repository::TemplateDisk => { "size": 1, "hash": "ab" },
        seed::InterfaceAddress => "192.0.2.7/24",
        vm::CheckpointReport => {
            "method": "rounds", "not_protected": "no", "pause": { "secs": 0, "nanos": 1 },
            "longest_stall": { "secs": 0, "nanos": 1 }, "total_stall": { "secs": 0, "nanos": 1 }, "memory": 4096,
            "written": 4096, "rounds": 2, "base": null, "full_because": "no",
        },
        vm::Crash => {
            "reason": { "reset": "no" }, "time": { "secs_since_epoch": 1, "nanos_since_epoch": 2 },
        },
        vm::CrashReason => { "thread_panicked": { "thread": "disk-0", "message": "no" } },
        vm::Device => { "disk": 0 },
        vm::DeviceStatistics => { "name": "virtio-rng", "cpu_time": { "secs": 0, "nanos": 1 } },
        vm::DiskStatus => { "position": 1, "engine": "io_uring", "direct": true },
        vm::Event => { "disk_resized": { "disk": 0, "size": 1024 } },
        vm::EventRecord => {
            "vm": "67e55044-10b1-426f-9247-bb680e5fe0c8", "sequence": 3,
            "time": { "secs_since_epoch": 1, "nanos_since_epoch": 2 }, "event": "started",
        },
        vm::ExitStatistics => {
            "port_reads": 1, "port_writes": 2, "memory_reads": 3, "memory_writes": 4, "halts": 0, "interrupted": 5,
            "others": 6,
        },
        vm::FrameStatistics => { "frames": 1, "bytes": 60, "dropped": 0 },
        vm::HaltCause => "guest_shutdown",
        vm::Halted => {
            "cause": "not_started", "since": { "secs_since_epoch": 1, "nanos_since_epoch": 2 },
        },
        vm::Latencies => { "buckets": [{ "end_ns": 1024, "count": 1 }, { "end_ns": null, "count": 2 }] },
        vm::GuestMemory => {
            "taken": { "secs_since_epoch": 1, "nanos_since_epoch": 2 }, "total": 4096, "free": null, "available": null,
            "disk_caches": null, "swapped_in": null, "swapped_out": null, "major_faults": 1, "minor_faults": null,
        },
        vm::MemoryStatistics => { "target": 67108864, "actual": 67108864, "guest": null },
        vm::NicStatus => {
            "position": 0, "interface": "tap0", "mac": "52:54:00:12:34:56", "link_up": true,
            "limit": {
                "receive": {
                    "operations_per_second": 7, "operations_burst": null, "bytes_per_second": null, "bytes_burst": null,
                },
                "transmit": {
                    "operations_per_second": null, "operations_burst": null, "bytes_per_second": 1048576,
                    "bytes_burst": null,
                },
            },
        },
        vm::Operation => {
            "verb": "export", "since": { "secs_since_epoch": 1, "nanos_since_epoch": 2 },
            "done": { "bytes": 1, "total": 2 },
        },
        vm::OperationStatistics => { "operations": 1, "bytes": 512, "errors": 0, "latency": { "buckets": [] } },
        vm::ResumeReport => {
            "state": { "secs": 0, "nanos": 1 }, "memory": { "secs": 0, "nanos": 1 }, "total": { "secs": 0, "nanos": 2 },
            "loaded": "mapped",
        },
        vm::ResumeTimes => { "running": { "secs": 0, "nanos": 1 }, "resident": { "secs": 0, "nanos": 2 } },
        vm::SuspendReport => {
            "memory": 4096, "parking": { "secs": 0, "nanos": 1 }, "state": { "secs": 0, "nanos": 1 },
            "total": { "secs": 0, "nanos": 2 },
        },
        xva::Exported => { "size": 1, "remarks": ["no"] },
    }

    settings_have_defaults: settings {
        agent::GuestCommand => { "program": "sort" },
        boot::Limits => { "kernel": 1 },
        config::Balloon => {},
        config::Boot => { "kernel": { "kernel": { "path": "k" } } },
        config::BootFile => { "path": "k" },
        config::CpuConfig => { "count": 2 },
        config::CpuLimit => { "weight": 7 },
        config::Disk => { "source": { "image": { "path": "a.raw", "format": "raw" } } },
        config::DiskSource => { "image": { "path": "a.raw", "format": "raw" } },
        config::MemoryBacking => { "shared": true },
        config::Nic => { "backend": { "tap": "tap0" } },
        config::NicBackendConfig => "new_tap",
        config::NicLimit => {},
        config::RateLimit => { "bytes_per_second": 1048576 },
        config::UserNetwork => {},
        config::VmConfig => { "name": "web", "boot": { "kernel": { "kernel": { "path": "k" } } } },
        config::Vsock => { "cid": 3, "path": "/run/v.sock" },
        migrate::Downtime => {},
        migrate::Migration => { "connections": 4 },
        migrate::MigrationReport => {},
        migrate::MigrationSummary => {},
        migrate::Reception => {},
        net::Offloads => { "checksum": true },
        seed::Seed => { "hostname": "web" },
        seed::SeedNic => { "mac": "52:54:00:12:34:56" },
        seed::User => { "name": "ana" },
        snapshot::NewSnapshot => { "name": "before" },
        template::Seal => { "name": "debian" },
        vm::Resume => { "time": "ignored", "memory": "lazy", "prefault": true },
        xva::Export => { "level": 7 },
        xva::Extract => { "format": "qcow2" },
        xva::Import => { "networks": { "lan": "br0" } },
        xva::ReadOptions => {},
    }

    enumerations_are_texts: variants {
        agent::OutputStream => ["stdout", "stderr"],
        error::ErrorKind => ["not_found", "out_of_descriptors", "cancelled"],
        host::Availability => ["ready"],
        host::KvmAbsence => ["no-hardware", "not-loaded", "no-device"],
        config::CpuidRegister => ["eax", "ebx", "ecx", "edx"],
        config::CrashAction => ["halt", "restart", "preserve"],
        config::EntryProtocol => ["pvh", "linux64"],
        config::IoEngine => ["auto", "io_uring"],
        config::TransportProtocol => ["tcp", "udp"],
        disk::Access => ["read-write", "read-only", "shared"],
        disk::ImageFormat => ["raw", "qcow2"],
        migrate::AtLimit => ["pause", "abort"],
        migrate::Decision => ["applied", "refused", "unknown"],
        migrate::MemoryTransfer => ["copy", "local_hand_over"],
        migrate::MigrationPhase => ["running", "receiving"],
        template::Unused => ["superseded", "all"],
        vm::CheckpointMethod => ["auto", "protect", "rounds", "stop"],
        vm::ElapsedTime => ["counted", "ignored"],
        vm::MemoryLoaded => ["read", "mapped", "userfault"],
        vm::MemoryLoading => ["auto", "read", "lazy"],
        vm::IoOperation => ["read", "write"],
        vm::PowerState => ["halted", "running", "paused", "suspended"],
        vm::Verb => ["start", "clean_shutdown"],
    }
}

#[test]
fn a_host_can_be_told_to_another() {
    let host = shown(host::Host::probe().unwrap());
    record::<host::Host>(host).unwrap();
}

#[test]
fn error_kinds_have_their_names() {
    use error::ErrorKind;

    for kind in [ErrorKind::NotFound, ErrorKind::OutOfDescriptors, ErrorKind::AgentAbsent, ErrorKind::Io] {
        assert_eq!(shown(kind), json!(kind.name()));
    }
}

#[test]
fn statistics_are_records_of_records() {
    let mut all = vm::Statistics { vcpus: vec![vm::VcpuStatistics::default()], ..vm::Statistics::default() };
    all.disks.insert(3, vm::DiskStatistics::default());
    all.nics.insert(0, vm::NicStatistics::default());
    let shown = serde_json::to_value(&all).unwrap();
    assert_eq!(shown["disks"]["3"]["reads"]["latency"], json!({ "buckets": [] }));
    assert_eq!(serde_json::from_value::<vm::Statistics>(shown).unwrap(), all);
}

#[test]
fn settings_are_what_their_methods_set() {
    use std::time::Duration;

    let value = |json: Value| serde_json::to_string(&json).unwrap();
    let seconds = json!({ "secs": 5, "nanos": 0 });
    let command = value(json!({
        "program": "sort", "args": ["-n"], "env": { "LANG": "C" }, "input": "10\n9\n", "timeout": seconds,
        "output_limit": 4,
    }));
    let built = agent::GuestCommand::new("sort").arg("-n").env("LANG", "C").input("10\n9\n");
    let built = built.timeout(Duration::from_secs(5)).output_limit(4);
    assert_eq!(serde_json::from_str::<agent::GuestCommand>(&command).unwrap(), built);

    let snapshot = value(json!({ "name": "a", "description": "b", "quiesce": seconds }));
    let built = snapshot::NewSnapshot::new("a").description("b").quiesce(Duration::from_secs(5));
    assert_eq!(serde_json::from_str::<snapshot::NewSnapshot>(&snapshot).unwrap(), built);

    let seal = value(json!({ "name": "a", "version": "1", "description": "b", "labels": { "os": "debian" } }));
    let built = template::Seal::new("a").version("1").description("b").label("os", "debian");
    assert_eq!(serde_json::from_str::<template::Seal>(&seal).unwrap(), built);

    let read = json!({ "max_window": 7 });
    let import = value(json!({
        "name": "a", "networks": { "lan": "br0" }, "preserve": true, "accept_unchecked": true, "read": read,
    }));
    let options = xva::ReadOptions::default().max_window(7_u64);
    let built = xva::Import::default().name("a").network("lan", "br0").preserve().accept_unchecked().read(options);
    assert_eq!(serde_json::from_str::<xva::Import>(&import).unwrap(), built);

    let extract = value(json!({ "format": "qcow2", "accept_unchecked": true, "read": read }));
    let built = xva::Extract::default().format(disk::ImageFormat::Qcow2).accept_unchecked().read(options);
    assert_eq!(serde_json::from_str::<xva::Extract>(&extract).unwrap(), built);

    // The level is that of the compression.
    for compression in [xva::Compression::None, xva::Compression::Gzip, xva::Compression::Zstd] {
        let export = value(json!({ "compression": compression, "checksum": "sha1" }));
        let built = xva::Export::with(compression).checksum(xva::Checksum::Sha1);
        assert_eq!(serde_json::from_str::<xva::Export>(&export).unwrap(), built);
    }
}

#[test]
fn settings_with_a_typing_error_are_refused() {
    let refused = |fault: Fault| fault.unwrap_err().contains("unknown field `typo`");
    assert!(refused(settings::<agent::GuestCommand>(json!({ "program": "a", "typo": 1 }))));
    assert!(refused(settings::<snapshot::NewSnapshot>(json!({ "name": "a", "typo": 1 }))));
    assert!(refused(settings::<template::Seal>(json!({ "name": "a", "typo": 1 }))));
    assert!(refused(settings::<xva::Import>(json!({ "typo": 1 }))));
    assert!(refused(settings::<xva::Extract>(json!({ "typo": 1 }))));
    assert!(refused(settings::<xva::Export>(json!({ "typo": 1 }))));
    assert!(refused(settings::<xva::ReadOptions>(json!({ "typo": 1 }))));
    assert!(refused(settings::<boot::Limits>(json!({ "typo": 1 }))));
    assert!(refused(settings::<net::Offloads>(json!({ "typo": 1 }))));
}

/// The records that are only shown.
#[test]
fn reports_on_images_and_archives_can_be_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    fs::write(&path, vec![1; 1 << 20]).unwrap();
    let info = shown(disk::inspect(&path, None).unwrap());
    assert_eq!(
        (&info["format"], &info["virtual_size"], &info["backing"]),
        (&json!("raw"), &json!(1 << 20), &json!([]))
    );

    let config = config::VmConfig::new("web").disk(config::Disk::raw(&path)).boot(config::Boot::from_disk());
    let mut archive = Vec::new();
    xva::export(&config, &mut archive, &xva::Export::none(), &()).unwrap();
    let inspected = shown(xva::inspect(&archive[..], &xva::ReadOptions::default(), &()).unwrap());
    assert_eq!((&inspected["appliance"]["name"], &inspected["compression"]), (&json!("web"), &json!("none")));
    let report = shown(xva::verify(&archive[..], &xva::ReadOptions::default(), &()).unwrap());
    assert_eq!((&report["good"], &report["disks"][0]["whole"]), (&json!(true), &json!(true)));
    let extracted = xva::extract(&archive[..], folder.path().join("disks"), &xva::Extract::default(), &()).unwrap();
    assert_eq!(shown(extracted)["appliance"]["disks"][0]["size"], json!(1 << 20));
}

#[test]
fn boot_menus_and_copies_can_be_shown() {
    let path = |path: &str| boot::DiskPath { partition: 1, path: path.into() };
    let entry = boot::BootEntry {
        id: "a".into(),
        title: "Debian".into(),
        submenu: vec!["more".into()],
        kernel: Some(path("/vmlinuz")),
        initrds: vec![path("/initrd")],
        command_line: "quiet".into(),
        default: true,
        source: boot::BootSource::LoaderEntries,
        not_bootable: None,
    };
    let json = json!({
        "id": "a", "title": "Debian", "submenu": ["more"], "kernel": { "partition": 1, "path": "/vmlinuz" },
        "initrds": [{ "partition": 1, "path": "/initrd" }], "command_line": "quiet", "default": true,
        "source": "loader-entries", "not_bootable": null,
    });
    assert_eq!(shown(entry), json);
    let backing = disk::BackingFile { path: "b.raw".into(), format: disk::ImageFormat::Raw };
    assert_eq!(shown(backing), json!({ "path": "b.raw", "format": "raw" }));
    assert_eq!(shown([disk::OverlayKind::Reflink, disk::OverlayKind::Qcow2]), json!(["reflink", "qcow2"]));
}

#[test]
fn every_public_type_is_a_tested_record_or_a_handle() {
    let last = |path: &&'static str| path.rsplit([':', ' ']).next().unwrap();
    let mut known: BTreeSet<_> = TESTED.iter().map(last).collect();
    known.extend(HANDLES.iter().chain(&SHOWN));
    known.extend(["Host", "Statistics", "VcpuStatistics", "DiskStatistics", "NicStatistics"]);
    let mut found = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let forgotten: Vec<_> = found.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(forgotten.is_empty(), "neither tested nor a handle: {forgotten:?}");
}

/// Collects the names of all public structures and enumerations, without those for tests.
fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "fuzzing"].contains(&name) {
            collect(&path, found);
        } else if path.is_file() && !name.contains("test") && name != "fuzzing.rs" {
            for line in fs::read_to_string(&path).unwrap().lines() {
                let rest = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
                let name = rest.and_then(|rest| rest.split(|letter: char| !letter.is_alphanumeric()).next());
                found.extend(name.map(str::to_owned));
            }
        }
    }
}
