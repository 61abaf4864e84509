//! Archives of XenServer, XCP-ng and Xen Orchestra.

use std::os::unix::fs::MetadataExt;

use xvirt_core::xva::{Checksum, Compression, Firmware};

use crate::support::*;

/// The SHA-256 of each raw disk, from before it was packed.
const ROOT: &str = "e2717b8b0fba5a9923516522141f49ef03d2a5a92631e3a72387d2129f7689f8";
const ZERO: &str = "bbd05cf6097ac9b1f89ea29d2542c1b7b67ee46848393895f5a9e43fa1f621e5";
const TAIL: &str = "6a8d113617ff7a347eaf042330813d03b71b5cdf07706800510f4ab41bfcdef3";
const DATA: &str = "7d38a8c66e571994b5aa22dab53c2db02d87be72398c6e2c654f0e7e969fff52";
const BIG: &str = "6d6c2bc441d02e11e57505a7edf66ee94d75361f0c8a3fc8080fa3d2ef5c71b0";
const MEMORY: &str = "a48bef809eccbfaddcb0c8588f9c5e02e09724fd6ce9cf2ed3cccecfbbb2b8df";

#[test]
fn every_sample_gives_its_disks() {
    let expected: [(&str, &[&str], Option<&str>); 9] = [
        ("xapi-gzip.xva", &[ROOT], None),
        ("xapi-heartbeats.xva", &[BIG, ROOT], None),
        ("xapi-odd-tail.xva", &[ROOT, DATA], None),
        ("xapi-plain-3disks.xva", &[ROOT, ZERO, TAIL], None),
        ("xapi-refs-cross-100.xva", &[ROOT, TAIL], None),
        ("xapi-suspended.xva", &[ROOT], Some(MEMORY)),
        ("xapi-template.xva", &[ROOT], None),
        ("xapi-zstd.xva", &[ROOT], None),
        ("xo-3disks.xva", &[ROOT, ZERO, TAIL], None),
    ];
    for (name, disks, memory) in expected {
        let folder = tempfile::tempdir().unwrap();
        let extracted = extract(&sample(name), folder.path()).unwrap();
        let sums: Vec<_> = extracted.disks.iter().map(|path| sha256(path)).collect();
        assert_eq!(sums, disks, "{name}");
        assert_eq!(extracted.memory_image.map(|path| sha256(&path)).as_deref(), memory, "{name}");
        assert_eq!(files(folder.path()).len(), disks.len() + usize::from(memory.is_some()) + 1, "{name}");
    }
}

#[test]
fn an_empty_disk_of_30_gib_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    let extracted = extract(&sample("xs70-genuine-ovaxml-emptydisk.xva"), folder.path()).unwrap();
    let disk = extracted.disks[0].metadata().unwrap();
    assert_eq!((disk.len(), disk.blocks()), (32_212_254_720, 0));
    assert_eq!(extracted.appliance.producer.brand, "XenServer");
}

#[test]
fn every_sample_is_verified() {
    for name in SAMPLES {
        let archive = sample(name);
        let report = verify(&archive[..]).unwrap();
        assert!(report.good && report.problems.is_empty(), "{name}: {:?}", report.problems);
        assert!(report.disks.iter().all(|disk| disk.whole && disk.reached == disk.size), "{name}: {:?}", report.disks);
        assert_eq!(report.size, archive.len() as u64, "{name}");
        let compression = match name {
            "xapi-gzip.xva" => Compression::Gzip,
            "xapi-zstd.xva" => Compression::Zstd,
            _ => Compression::None,
        };
        let checksum = if name.starts_with("xs70") { Checksum::Sha1 } else { Checksum::Xxhash };
        assert_eq!((report.compression, &report.checksums[..]), (compression, &[checksum][..]), "{name}");
    }
}

#[test]
fn what_an_appliance_is_can_be_told() {
    let appliance = verify(&sample("xapi-zstd.xva")[..]).unwrap().appliance.unwrap();
    assert_eq!((appliance.name.as_str(), appliance.vcpus, appliance.memory), ("zs", 2, 2 << 30));
    assert_eq!((appliance.firmware, appliance.template, appliance.suspended), (Firmware::Uefi, false, false));
    assert_eq!((appliance.cd_drives.len(), appliance.cd_drives[0].as_deref()), (1, None));
    let nics: Vec<_> = appliance.nics.iter().map(|nic| (nic.mac.as_str(), nic.network.as_str())).collect();
    let network = "Pool-wide network associated with eth0";
    assert_eq!(nics, [("aa:bb:cc:00:00:00", network), ("aa:bb:cc:00:00:01", network)]);
    let producer = appliance.producer;
    assert_eq!(
        (producer.brand.as_str(), producer.version.as_str(), producer.xapi.as_str()),
        ("XCP-ng", "8.3.0", "24.19")
    );

    let appliance = verify(&sample("xapi-template.xva")[..]).unwrap().appliance.unwrap();
    assert_eq!((appliance.template, appliance.firmware), (true, Firmware::Bios));
    assert!(verify(&sample("xapi-suspended.xva")[..]).unwrap().appliance.unwrap().suspended);
}
