//! Archives written by this library.

use std::fs;

use xvirt_core::config::{ByteSize, Disk, Nic, VmConfig};
use xvirt_core::disk::{self, Access, BlockBackend, ImageFormat};
use xvirt_core::xva::{self, Checksum, Export};

use crate::support::*;

const MIB: u64 = 1 << 20;

/// A VM with three disks: 5 MiB with some data, a qcow2 of 300 MiB with data at its end, and a small one of odd size.
fn vm(folder: &std::path::Path) -> VmConfig {
    let path = |name: &str| folder.join(name);
    let mut root = vec![0; 5 << 20];
    root[..600].fill(7);
    root[2 << 20..3 << 20].copy_from_slice(&pattern(1, 1 << 20));
    fs::write(path("root.raw"), &root).unwrap();
    disk::create(path("data.qcow2"), ImageFormat::Qcow2, 300 * MIB).unwrap();
    let data = disk::open(path("data.qcow2"), None, Access::ReadWrite).unwrap();
    write(&*data, 299 * MIB + 4096, &pattern(2, 9000));
    drop(data);
    fs::write(path("small.raw"), pattern(3, 1536)).unwrap();
    VmConfig::new("web <1> & Ж 漢字")
        .description("first line\nsecond")
        .vcpus(3)
        .memory(ByteSize::mib(768))
        .disk(Disk::raw(path("root.raw")))
        .disk(Disk::qcow2(path("data.qcow2")).read_only())
        .disk(Disk::raw(path("small.raw")))
        .nic(Nic::new_tap().mac("02:00:00:00:00:07".parse().unwrap()).mtu(1400))
        .nic(Nic::new_tap().bridge("br7"))
}

#[test]
fn what_is_exported_is_extracted() {
    let folder = tempfile::tempdir().unwrap();
    let config = vm(folder.path());
    let mut sizes = Vec::new();
    for options in [Export::none(), Export::gzip(), Export::zstd(), Export::none().checksum(Checksum::Sha1)] {
        let mut archive = Vec::new();
        let exported = xva::export(&config, &mut archive, &options, &()).unwrap();
        assert_eq!(exported.size, archive.len() as u64);
        sizes.push(exported.size);
        let report = verify(&archive[..]).unwrap();
        assert!(report.good && report.problems.is_empty(), "{options:?}: {:?}", report.problems);
        assert_eq!((report.compression, report.checksums), (options.compression, vec![options.checksum]));
        let appliance = report.appliance.unwrap();
        assert_eq!((&appliance.name, &appliance.description), (&config.name, &config.description));
        assert_eq!((appliance.vcpus, appliance.memory), (3, 768 * MIB));
        let nics: Vec<_> = appliance.nics.iter().map(|nic| (nic.network.as_str(), nic.mtu)).collect();
        assert_eq!(nics, [("Pool-wide network associated with eth0", Some(1400)), ("br7", Some(1500))]);
        let disks: Vec<_> = appliance.disks.iter().map(|disk| (disk.size, disk.bootable, disk.read_only)).collect();
        assert_eq!(disks, [(5 * MIB, true, false), (300 * MIB, false, true), (MIB, false, false)]);

        let into = tempfile::tempdir().unwrap();
        let extracted = extract(&archive, into.path()).unwrap();
        for (out, original) in extracted.disks.iter().zip(&config.disks) {
            let original = xvirt_core::disk::open(path(original), None, Access::ReadOnly).unwrap();
            let out = disk::open(out, Some(ImageFormat::Raw), Access::ReadOnly).unwrap();
            assert!(same_disk(&*original, &*out), "{options:?}");
        }
    }
    assert!(sizes[1] < sizes[0] && sizes[2] < sizes[0], "{sizes:?}");
}

#[test]
fn what_cannot_be_exported_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let config = vm(folder.path());
    let refused = |config: &VmConfig, options| xva::export(config, Vec::new(), &options, &()).unwrap_err().to_string();
    assert_eq!(refused(&config, Export::zstd().level(20)), "zstd has no level 20; choose one between 1 and 19");
    let _writer = disk::open(folder.path().join("root.raw"), Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    assert!(refused(&config, Export::none()).contains("root.raw is in use by this process"));
}

#[test]
fn an_export_that_is_cancelled_or_cannot_be_written_fails() {
    let folder = tempfile::tempdir().unwrap();
    let config = vm(folder.path());
    let cancelled = std::sync::atomic::AtomicBool::new(true);
    let error = xva::export(&config, Vec::new(), &Export::none(), &cancelled).unwrap_err();
    assert_eq!(error.kind(), xvirt_core::ErrorKind::Cancelled);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = xva::export(&config, full, &Export::zstd(), &()).unwrap_err();
    assert_eq!(error.kind(), xvirt_core::ErrorKind::NoSpace);
    assert!(error.to_string().contains("make room where it is written to"), "{error}");
}

fn path(disk: &Disk) -> &std::path::Path {
    match &disk.source {
        xvirt_core::config::DiskSource::Image { path, .. } => path,
        _ => panic!("not an image"),
    }
}

/// Whether the copy begins with the original, and the rest is zeroes.
fn same_disk(original: &dyn BlockBackend, copy: &dyn BlockBackend) -> bool {
    let all = |disk: &dyn BlockBackend| read(disk, 0, disk.capacity() as usize);
    let (original, copy) = (all(original), all(copy));
    copy.starts_with(&original) && copy[original.len()..].iter().all(|byte| *byte == 0)
}
