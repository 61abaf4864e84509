//! Saved state that earlier versions of xvirt wrote with the demo guest: this version must restore all of it.
//!
//! Each folder in `golden` has a VM with two vCPUs, two disks, a network interface and a vsock device: its saved state
//! and its disks, compressed. Its CPU baseline is what the guest needs, so that every CPU of that vendor fits. With
//! `XVIRT_MAKE_GOLDEN=FOLDER`, [`a_new_one_is_made`] writes such a folder; add one whenever the format changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, ByteSize, CpuBaseline, Disk, Nic, VmConfig, Vsock};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::net::MacAddress;
use xvirt_core::vm::SuspendedVm;

use crate::host;
use crate::support::config;
use crate::switch::{GUEST, Switch};
use crate::workload::{Progress, Workload};

const ORDER: &str = "XVIRT_MAKE_GOLDEN";
const DISK: u64 = 1 << 20;
const FILES: [&str; 3] = ["state", "disk.raw", "disk.qcow2"];

/// The VM with its files in `folder`.
fn vm(folder: &Path, host: &Host) -> VmConfig {
    let modes = [Mode::Smp, Mode::Counter, Mode::BlkLoad, Mode::Net];
    let line = CommandLine::new(modes).pages(40).every(1).blocks(4).span(32).continuing().net_every(1 << 40);
    let kernel = folder.join("kernel");
    fs::write(&kernel, demo::kernel()).unwrap();
    config(&line)
        .memory(ByteSize::mib(32))
        .vcpus(2)
        .cpu_baseline(few_features(host))
        .boot(Boot::kernel(kernel).command_line(line.to_string()))
        .disk(Disk::raw(folder.join("disk.raw")).serial("first"))
        .disk(Disk::qcow2(folder.join("disk.qcow2")).serial("second"))
        .nic(Nic::stream(folder.join("switch")).mac(MacAddress::new(GUEST)))
        .vsock(Vsock::new(77, folder.join("vsock")))
}

/// The CPU features that the demo guest needs: those of the first 64-bit processors.
fn few_features(host: &Host) -> CpuBaseline {
    const NEEDED: [(u64, &str, u64); 3] = [
        // FPU, TSC, MSR, PAE, CX8, APIC, PGE, CMOV, PAT, FXSR, SSE, SSE2.
        (1, "edx", 1 << 0 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 16 | 7 << 24),
        // KVM's clock.
        (0x4000_0001, "eax", 1 << 3),
        // SYSCALL, NX, long mode.
        (0x8000_0001, "edx", 1 << 11 | 1 << 20 | 1 << 29),
    ];
    let mut baseline = serde_json::to_value(host.cpu_baseline().unwrap()).unwrap();
    for features in baseline["features"].as_array_mut().unwrap() {
        let register = (features["leaf"].as_u64().unwrap(), features["register"].as_str().unwrap());
        let needed = NEEDED.iter().find(|(leaf, output, _)| register == (*leaf, *output)).map_or(0, |needed| needed.2);
        features["bits"] = (features["bits"].as_u64().unwrap() & needed).into();
    }
    serde_json::from_value(baseline).unwrap()
}

/// The folders with their names.
fn golden() -> Vec<PathBuf> {
    let all = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/demo/golden")).unwrap();
    let all: Vec<_> = all.map(|entry| entry.unwrap().path()).collect();
    assert!(!all.is_empty());
    all
}

/// Unpacks the files of one.
fn unpack(golden: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in FILES {
        let packed = File::open(golden.join(format!("{name}.zst"))).unwrap();
        zstd::stream::copy_decode(packed, File::create(folder.path().join(name)).unwrap()).unwrap();
    }
    folder
}

#[test]
fn all_are_restored_and_go_on() {
    let host = host!();
    let mut restored = 0;
    for golden in golden() {
        let folder = unpack(&golden);
        let suspended = SuspendedVm::open(folder.path().join("state")).unwrap();
        let mut config = suspended.config().unwrap().clone();
        // Only paths and the CPU differ from what a new VM would have.
        let here = vm(folder.path(), &host);
        assert_eq!((config.disks.len(), &config.cpus.count), (2, &here.cpus.count));
        (config.boot, config.disks, config.nics, config.vsock) = (here.boot, here.disks, here.nics, here.vsock);
        let switch = Switch::after(1 << 32, &folder.path().join("switch"));
        let resumed = suspended.build_with(config, &host).and_then(|vm| vm.resume(&()).map(|_| vm));
        let vm = match resumed {
            Ok(vm) => vm,
            // It is of a CPU of another vendor, or with a time stamp counter that this one cannot imitate.
            Err(error) if error.kind() == ErrorKind::HostUnsupported => {
                println!("{}: {error}", golden.display());
                continue;
            }
            Err(error) => panic!("{}: {error}", golden.display()),
        };
        let mut guest = Workload::taken_back(vm, Progress::default());
        guest.goes_on();
        switch.expect_answer();
        guest.vm.hard_shutdown().unwrap();
        restored += 1;
    }
    if restored == 0 {
        println!("SKIPPED golden::all_are_restored_and_go_on: none of them fits this host's CPU");
    }
}

#[test]
fn a_new_one_is_made() {
    let Some(golden) = std::env::var_os(ORDER).map(PathBuf::from) else { return };
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    disk::create(path("disk.raw"), ImageFormat::Raw, DISK).unwrap();
    disk::create(path("disk.qcow2"), ImageFormat::Qcow2, DISK).unwrap();
    let switch = Switch::new(&path("switch"));
    let mut guest = Workload::new(vm(folder.path(), &host).build(&host).unwrap());
    guest.vm.start().unwrap();
    guest.goes_on();
    switch.expect_answer();
    guest.vm.suspend(path("state"), &()).unwrap();
    fs::create_dir_all(&golden).unwrap();
    for name in FILES {
        let packed = File::create(golden.join(format!("{name}.zst"))).unwrap();
        zstd::stream::copy_encode(File::open(path(name)).unwrap(), packed, 19).unwrap();
    }
}
